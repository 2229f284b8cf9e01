"""What Snakemake would hand to `sbatch`, asked of Snakemake itself.

The workflow, the profile and the executor are the real ones; only the `sbatch` that they find is a
stand-in, which notes its arguments, and their `squeue` shows no job that an executor could take
over. This is a process of its own, `python -m reversal_curse.jobs.submissions FILE ARGUMENTS`,
since Snakefiles change theirs; ARGUMENTS are Snakemake's.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

LARGE = ("runtime", "mem_mb")
STAND_IN = """#!/bin/sh
[ "${0##*/}" = squeue ] && exit
printf '%s\\0' "$@" > "${0%/*}/arguments"
exit 1
"""


def look(answer: Path, arguments: list[str]) -> None:
    """Write what would be submitted to `answer`; leave it empty if nothing would."""
    from snakemake.cli import main
    from snakemake.scheduling.job_scheduler import JobScheduler

    def look_only(scheduler: Any) -> None:
        answer.write_text(json.dumps(_submissions(scheduler)), "utf-8")
        os._exit(0)  # the executor has a thread that waits for jobs

    JobScheduler.schedule = look_only  # ty: ignore[invalid-assignment]
    # A sweep may be running here; its lock does not matter to those who only look.
    main([*arguments, "--nolock", "--no-hooks"])


def _submissions(scheduler: Any) -> dict[str, Any]:
    """Submit the longest and the largest job of each rule for nothing, first and last attempt."""
    workflow, executor = scheduler.workflow, scheduler._executor
    errors: list[str] = []
    executor.report_job_error = lambda info, msg="", **_: errors.append(msg)
    rules: dict[str, list[Any]] = {}
    for job in workflow.dag.needrun_jobs():
        if not job.is_local:
            rules.setdefault(job.rule.name, []).append(job)
    folder = Path(tempfile.mkdtemp())
    noted = folder / "arguments"
    for name in ("sbatch", "squeue"):
        (folder / name).write_text(STAND_IN, "utf-8")
        (folder / name).chmod(0o700)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    calls = []
    for rule, jobs in rules.items():
        for job in {max(jobs, key=lambda job: job.resources.get(of, 0)) for of in LARGE}:
            for attempt in sorted({1, 1 + workflow.execution_settings.retries}):
                job.attempt = attempt
                executor.run_job(job)
                line = noted.read_text("utf-8").split("\0")[:-1] if noted.exists() else []
                noted.unlink(missing_ok=True)
                error = "" if line else errors[-1]
                calls.append({"rule": rule, "attempt": attempt, "line": line, "error": error})
    shutil.rmtree(folder)
    shutil.rmtree(executor.tmpdir)
    return {
        "calls": calls,
        "jobs": sum(map(len, rules.values())),
        "at_a_time": workflow.nodes,
        "latency_wait": workflow.execution_settings.latency_wait,
        "executor": workflow.executor_plugin.name,
        "settings": {name: str(value) for name, value in vars(workflow.executor_settings).items()},
    }


if __name__ == "__main__":
    look(Path(sys.argv[1]), sys.argv[2:])
