"""Snakemake's executor plugin `reversal-curse-slurm`: the plugin `slurm`, for sites that say no.

What it adds: jobs that were preempted, or that SLURM has forgotten, end; submissions that a limit
refuses are tried again, and other refusals are one line; requests stay within the site's limits;
training jobs that a killed Snakemake left in the queue are gone on with.

Of plugin 2.8.0 (pinned in `requirements.lock`) it uses `_job_submission_executor`, a thread pool,
`_preemption_warning`, `_fallback_account_arg`, `run_uuid` (the name of all jobs in SLURM), the
jobs' comments, `query_job_status*` and the words of a refusal. `tests/slurm` notices if they go.
"""

import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import snakemake_executor_plugin_slurm
from snakemake_executor_plugin_slurm import common_settings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

slurm: Any = snakemake_executor_plugin_slurm  # its annotations are not what it does

REFUSED = re.compile(r"SLURM sbatch failed. The error message was '(.*)'.\n    sbatch call:", re.S)
LATER = re.compile(
    r"Submit\w*Limit|temporarily un|timed out|[Cc]onnection|connect to|contact|not responding|"
    r"Zero Bytes|standby"
)
"""What SLURM says if it may grant the same request later."""
ENDED = {"COMPLETED", "PREEMPTED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE"}
ENDED |= {"NODE_FAIL", "BOOT_FAIL", "REVOKED", ""}
LOOKS = 3  # at a job that has ended, or is not shown: SLURM may requeue it, the plugin see its end


def setting(default: Any, words: str) -> Any:
    return field(default=default, metadata={"help": words, "env_var": False, "required": False})


@dataclass
class ExecutorSettings(slurm.ExecutorSettings):
    """Settings of the SLURM plugin, and ours."""

    max_runtime: int = setting(0, "The most minutes that a job may ask for; 0: any.")
    max_mem_mb: int = setting(0, "The most memory that a job may ask for; 0: any.")
    hold_seconds: int = setting(60, "Seconds until a refused submission is tried again.")


class Executor(slurm.Executor):
    """Submits jobs to SLURM."""

    def __post_init__(self, test_mode: bool = False) -> None:
        self._stopping = threading.Event()
        self._ended: set[str] = set()
        self._looks: Counter[str] = Counter()
        self._held: dict[Any, str] = {}
        self._said: set[str] = set()
        ours = "--reversal-curse-slurm-"
        for given in sys.argv:
            if given.startswith("--slurm-"):
                raise slurm.WorkflowError(f"{given}: must be {given.replace('--slurm-', ours)}")
        if self.workflow.executor_settings.array_jobs:
            raise slurm.WorkflowError(f"{ours}array-jobs: must be unset (plugin slurm, issue 473)")
        super().__post_init__(test_mode)
        self._preemption_warning = True  # its words are many, and true of requeueing alone
        self._fallback_account_arg = ""  # to guess one, it calls sacct wrongly, and says so

    def run_job(self, job: Any) -> None:
        """Submit a job, again and again while SLURM takes none."""
        try:
            self._submit_until_taken(job)
        except Exception as error:  # nobody else would see it, and the job be waited for for ever
            self.report_job_error(slurm.SubmittedJobInfo(job), f"not submitted: {error!r}")

    def _submit_until_taken(self, job: Any) -> None:
        settings, asks = self.workflow.executor_settings, job.resources
        limits = {"runtime": settings.max_runtime, "mem_mb": settings.max_mem_mb}
        limits["mem_mb_per_cpu"] = settings.max_mem_mb // (asks.get("cpus_per_task") or job.threads)
        for name, most in limits.items():
            if most and (asks.get(name) or 0) > most:
                setattr(asks, name, most)
        while not self._stopping.is_set():
            if not self._adopted(job):
                super().run_job(job)
            if not (said := self._held.pop(job, "")):
                return
            if said not in self._said:
                self._said.add(said)
                every = f"trying again every {settings.hold_seconds} s"
                self.logger.warning(f"SLURM takes no job now ({said}); {every}")
            self._stopping.wait(settings.hold_seconds)

    def _adopted(self, job: Any) -> bool:
        """Go on with the SLURM job of an earlier call that trains the same, if there is one."""
        look = ["squeue", "--me", "--noheader", "--states=PENDING,RUNNING,SUSPENDED"]
        look.append("--format=%i|%k|%Z")
        queue = subprocess.run(look, capture_output=True, text=True, errors="replace")
        if LATER.search(queue.stderr):
            self._held[job] = _words(queue.stderr)
            return True
        if not job.name.startswith("train_"):
            return False
        (name,) = job.wildcards  # a digest of the grid points
        wanted = f"rule_{job.name}_wildcards_{name}", Path.cwd()
        for line in queue.stdout.splitlines():
            number, *rest = line.split("|")  # a comment of another's job may hold anything
            same = len(rest) == 2 and (rest[0], Path(rest[1]).resolve()) == wanted
            rename = ["scontrol", "update", f"JobId={number}", f"JobName={self.run_uuid}"]
            if same and not subprocess.run(rename, capture_output=True).returncode:
                self.logger.warning(f"going on with SLURM job {number}, which trains {name}")
                log = self.slurm_logdir / f"rule_{job.name}" / name / f"{number}.log"
                info = slurm.SubmittedJobInfo(job, number, {"slurm_logfile": log})
                self._report_job_submission_threadsafe(info)
                return True
        return False

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        """End the jobs that the plugin sees end, and those that it would wait for for ever."""
        if not active_jobs:  # the thread that asks starts before `__post_init__`
            return
        self._ended.clear()
        async for _ in super().check_active_jobs(active_jobs):
            pass  # not what it asks to wait for: if SLURM is silent, that is nothing
        left = [job for job in active_jobs if job.external_jobid not in self._ended]
        look = slurm.job_status_query.query_job_status_squeue(self.run_uuid)
        shown, _ = await slurm.job_status_query.query_job_status(look, self.logger)
        for job in left:
            number = job.external_jobid
            state = "RUNNING" if shown is None else shown.get(number, "")
            self._looks[number] = self._looks[number] + 1 if state in ENDED else 0
            if self._looks[number] < LOOKS:
                yield job
                continue
            if state in ("COMPLETED", ""):
                self.logger.warning(f"SLURM job {number} is gone; looking for what it made")
                self.report_job_success(job)  # if that is nothing, Snakemake tries again
            else:
                log = str(job.aux["slurm_logfile"])
                self.report_job_error(job, f"SLURM job {number}: {state}. ", aux_logs=[log])
        self.next_seconds_between_status_checks = None  # as configured, not more and more

    def report_job_success(self, job_info: Any) -> None:
        self._ended.add(job_info.external_jobid)
        super().report_job_success(job_info)

    def report_job_error(self, job_info: Any, msg: str = "", **more: Any) -> None:
        """Report that a job failed, or hold it back if SLURM may take it later."""
        self._ended.add(job_info.external_jobid)
        job, refused = job_info.job, REFUSED.match(msg)
        said = _words(refused[1] if refused else msg)
        if not job_info.external_jobid and LATER.search(said):
            self._held[job] = said
            return
        if refused:
            job.attempt = job.restart_times + 1  # SLURM would say the same again
            msg = f"sbatch refused: {said}"
            for log in job.log:  # where people, and the screen, look for the reason
                Path(log).parent.mkdir(parents=True, exist_ok=True)
                Path(log).write_text(msg + "\n", encoding="utf-8")
        super().report_job_error(job_info, msg, **more)

    def cancel(self) -> None:
        """Stop submitting, then cancel what was submitted."""
        self._stopping.set()
        self._job_submission_executor.shutdown(cancel_futures=True)
        super().cancel()

    def shutdown(self) -> None:
        self._stopping.set()
        super().shutdown()


def _words(stderr: str) -> str:
    """Return what a SLURM command said, as one line."""
    said = re.sub(r"^\w+: error: (Batch job submission failed: )?", "", stderr.strip(), flags=re.M)
    return "; ".join(said.splitlines())
