"""What a first night on a cluster usually founders on, looked for from the login node in seconds.

Each check yields findings: a level, and a line that says what is and what to change. The jobs are
those that Snakemake would submit (`jobs/submissions.py`). One job looks around on a node: it runs
`python -m reversal_curse.doctor FOLDER` and answers through that folder among the results.
"""

import argparse
import getpass
import json
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from snakemake_executor_plugin_slurm.utils import parse_time_to_minutes

from reversal_curse.config.errors import UserError, first_line, one_line
from reversal_curse.config.file import Config
from reversal_curse.families import FAMILIES
from reversal_curse.pretrained.model_folder import BYTES, find_model
from reversal_curse.products import Products
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tasks import TASKS

OK, WARN, FAIL = "ok", "warn", "FAIL"
Finding = tuple[str, str]
RUNS = ("CONFIGURING", "RUNNING", "COMPLETING")
NAME, ANSWER = "reversal-curse-doctor", "answer.json"
# Options of sbatch, and the keys of the profile that set them.
KEYS = {"-p": "slurm_partition", "-A": "slurm_account", "--gpus": "gpu", "-t": "runtime"}
KEYS |= {"--mem": "mem_mb", "--mem-per-cpu": "mem_mb_per_cpu", "--cpus-per-task": "cpus_per_task"}
KEYS |= {"--gres": "gres", "--qos": "qos"}
USER_LIMITS = ("DefaultAccount", "Account", "QOS", "DefaultQOS", "MaxWall", "MaxSubmit")
QOS_LIMITS = ("Name", "MaxWall", "MaxSubmitPU", "MaxSubmitPA", "GrpSubmit")
DOWN = re.compile("DOWN|DRAIN|FAIL|MAINT|NOT_RESPONDING")
UNSEEN = "nodes, their GPUs and disks were not looked at"


class Call:
    """A job as the executor hands it to sbatch, or the error that keeps it from doing so."""

    def __init__(self, rule: str, attempt: int, line: list[str], error: str):
        self.rule, self.line, self.error = rule, line, error
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for option, key in KEYS.items():
            parser.add_argument(option, dest=key, default="")
        asks, _ = parser.parse_known_args(line)
        self.partitions = asks.slurm_partition.split(",") if asks.slurm_partition else []
        self.account, self.qos, self.minutes = asks.slurm_account, asks.qos, int(asks.runtime or 0)
        by_core = int(asks.mem_mb_per_cpu or 0) * int(asks.cpus_per_task or 1)
        self.memory = int(asks.mem_mb or by_core)
        self.gpus = _gpus(f"gpu:{asks.gpu}" if asks.gpu else asks.gres)
        given = " ".join(f"{key}={value}" for key, value in vars(asks).items() if value)
        self.asks = f"attempt {attempt} asks for {given}" if line else "not submitted"


def _gpus(gres: str) -> dict[str, int]:
    """Count GPUs by model: `gpu:2` is `{"": 2}`, `gpu:a100:4(S:0-1)` is `{"a100": 4}`."""
    found = re.findall(r"gpu(?::([a-zA-Z][\w.-]*))?(?::(\d+))?", gres)
    return {model: int(count or 1) for model, count in found}


class Site:
    """What Snakemake asks for with a profile, and what the cluster has."""

    def __init__(self, products: Products, asked: dict[str, Any], wait: float):
        self.products, self.wait = products, wait
        calls = [Call(**call) for call in asked["calls"]]
        self.calls = sorted(calls, key=lambda call: (call.minutes, call.memory))
        self.jobs, self.at_a_time = asked["jobs"], asked["at_a_time"]
        self.latency_wait, self.settings = asked["latency_wait"], asked["settings"]
        self.executor, self.plain = asked["executor"], asked["executor"] == "slurm"
        config = _call("scontrol", "show", "config").stdout
        self.conf = dict(re.findall(r"^(\w+) *= (.*?) *$", config, re.MULTILINE))
        self.partitions = {part["PartitionName"]: part for part in _show("partition")}
        self.all_nodes = _show("node")
        self.users = _accounts(USER_LIMITS, "user", getpass.getuser(), "withassoc")
        self.all_qos = _accounts(QOS_LIMITS, "qos")
        self.folder = products.results.absolute() / "doctor"
        self.taken: list[Call] = []  # those that sbatch takes
        self.probe = ""  # the number of the job that looks around on a node

    def nodes(self, call: Call) -> list[dict[str, str]]:
        """List the nodes of a job's partitions."""
        wanted = {*call.partitions}
        return [n for n in self.all_nodes if wanted & {*n.get("Partitions", "").split(",")}]

    def limits(self, call: Call) -> Iterator[tuple[str, float, float]]:
        """Yield the account and the QOS that limit a job, with the most minutes and jobs."""
        if "limits" not in self.conf["AccountingStorageEnforce"]:
            return
        users = self.users
        rows = [row for row in users if row["Account"] == (call.account or row["DefaultAccount"])]
        names = {self.partitions[name]["QoS"] for name in call.partitions}
        for row in rows:
            only = row["QOS"] if "," not in row["QOS"] else "normal"
            names.add(call.qos or row["DefaultQOS"] or only)
        for row in [*rows, *(row for row in self.all_qos if row["Name"] in names)]:
            origin = f"QOS {row['Name']}" if "Name" in row else f"account {row['Account']}"
            counts = [float(count) for name, count in row.items() if "Submit" in name and count]
            yield origin, _minutes(row["MaxWall"]), min(counts, default=math.inf)


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input="", capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise UserError(f"{' '.join(command[:3])}: no answer in two minutes") from None


def _show(*what: str) -> list[dict[str, str]]:
    lines = _call("scontrol", "--oneliner", "show", *what).stdout.splitlines()
    return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]


def _accounts(fields: tuple[str, ...], *what: str) -> list[dict[str, str]]:
    shown = _call("sacctmgr", "-nP", "show", *what, f"format={','.join(fields)}").stdout
    return [dict(zip(fields, line.split("|"), strict=True)) for line in shown.splitlines()]


def _minutes(limit: str) -> float:
    return parse_time_to_minutes(limit) if limit[:1].isdecimal() else math.inf


def doctor(products: Products, files: list[Path], profile: str, wait: float) -> None:
    """Print findings; raises UserError if something would make jobs fail, or wait for ever."""
    if not shutil.which("sbatch"):
        raise UserError("sbatch: no such command here; run this on a login node of the cluster")
    ping = _call("scontrol", "ping").stdout.strip()
    if "is UP" not in ping:
        raise UserError(f"the controller of SLURM does not answer, ask the site: {ping}")
    asked = _ask_snakemake(files, profile)
    if not asked.get("jobs"):
        print("nothing is left to submit")
        return
    site, failures = Site(products, asked, wait), 0
    site.folder.mkdir(parents=True, exist_ok=True)
    try:
        for check in CHECKS:
            for level, text in check(site):
                failures += level == FAIL
                print(f"{level:4}  {one_line(text, 600)}", flush=True)
    finally:
        if site.probe:
            _call("scancel", site.probe)
        shutil.rmtree(site.folder, ignore_errors=True)
    if failures:
        raise UserError(f"{failures} to mend; keys are those of the profile, {profile}")


def _ask_snakemake(files: list[Path], profile: str) -> dict[str, Any]:
    """Ask what would be submitted; empty if nothing is left to do."""
    command = [sys.executable, "-m", "reversal_curse.jobs.submissions"]
    with tempfile.NamedTemporaryFile() as answer:
        command += [answer.name, "--profile", profile, "--configfile", *map(str, files)]
        done = _call(*command)
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines()
            raise UserError(f"snakemake --profile {profile}: {' '.join(said[-2:])}")
        return json.loads(answer.read() or "{}")


def check_calls(site: Site) -> Iterator[Finding]:
    """Say what the largest jobs of each rule would be refused for, first and last attempt."""
    found: dict[Finding, dict[str, str]] = {}
    for call in site.calls:
        problems = _problems(site, call)
        site.taken += [call] * all(level != FAIL for level, _ in problems)
        for problem in problems:
            found.setdefault(problem, {})[call.rule] = call.asks
    for (level, text), asked in found.items():
        yield level, f"{', '.join(sorted(asked))}: {[*asked.values()][-1]}; {text}"
    if not found:
        yield OK, "sbatch takes the largest jobs of all rules, at the first and the last attempt"


def _problems(site: Site, call: Call) -> list[Finding]:
    """List what a job asks for and does not get, and what to change."""
    if call.error:
        return [(FAIL, " ".join(call.error.split()))]
    if not site.partitions.keys() >= {*call.partitions}:
        return [(FAIL, f"`slurm_partition` must be of: {', '.join(site.partitions)}")]
    # With some of this, sbatch takes a job, which waits for ever; of some it does not say which.
    if problems := [(FAIL, text) for text in _too_much(site, call)]:
        return problems
    tested = _call("sbatch", "--test-only", *call.line)
    if not tested.returncode or "SubmitJob" in tested.stderr:  # too many jobs: see below
        return []
    said = f"sbatch says: {' '.join(tested.stderr.split())}"
    states = [node["State"] for node in site.nodes(call)]
    if "not available" in said and (down := [s for s in states if DOWN.search(s)]):
        drained = f"{len(down)} of {len(states)} nodes are down or drained"
        return [(WARN, f"{said}; but {drained}: jobs wait for them")]
    if "account" in said or "qos" in said:
        said += "; `sacctmgr show user -s $USER` lists yours"
    return [(FAIL, said)]


def _too_much(site: Site, call: Call) -> Iterator[str]:
    parts, nodes = [site.partitions[name] for name in call.partitions], site.nodes(call)
    where = f"partition {','.join(call.partitions)}"
    if parts and all(part["State"] != "UP" for part in parts):
        yield f"{where} is {parts[0]['State']}: choose another `slurm_partition`"
    times = [(where, max((_minutes(part["MaxTime"]) for part in parts), default=math.inf))]
    times += [(origin, minutes) for origin, minutes, _ in site.limits(call)]
    for origin, most in times:
        if call.minutes > most:
            less = f"lower `runtime`, or set `reversal-curse-slurm-max-runtime: {most:g}`"
            yield f"{origin} admits {most:g} minutes: {less}"
    most = max((int(node["RealMemory"]) for node in nodes), default=math.inf)
    if call.memory > most:
        less = f"lower `mem_mb`, or set `reversal-curse-slurm-max-mem-mb: {most}`"
        yield f"{where} admits {most} MB: {less}"
    given = [_gpus(node["Gres"]) for node in nodes]
    for model, count in call.gpus.items():
        counts = [gpus.get(model, 0) if model else sum(gpus.values()) for gpus in given]
        if max(counts, default=0) < count:
            have = ", ".join(sorted({node["Gres"] for node in nodes}))
            yield f"nodes of {where} have {have}: change `gpu_model`, `gpu` or `slurm_partition`"


def start_probe(site: Site) -> Iterator[Finding]:
    """Submit the smallest job with a GPU, with a look around in place of its work."""
    call = min(site.taken, key=lambda call: (not call.gpus, call.memory), default=None)
    if not call:
        yield WARN, f"nothing can be submitted: {UNSEEN}"
        return
    (site.folder / "config.json").write_text(site.products.config.to_json(), "utf-8")
    (site.folder / ANSWER).write_text("[]", "utf-8")
    look = [sys.executable, "-m", "reversal_curse.doctor", str(site.folder)]
    step = ["srun", "-n1", "--nodes=1", "--cpu-bind=q", *look, *["gpu"] * bool(call.gpus)]
    # The last argument is what Snakemake would run; of two equal options the last one counts.
    ours = ["-t", "5", "--job-name", NAME, "--comment", NAME, "--output", f"{site.folder}/log"]
    sent = _call("sbatch", *call.line[:-1], *ours, f"--wrap={shlex.join(step)}")
    site.probe = sent.stdout.strip().split(";")[0]
    if not site.probe:
        yield WARN, f"sbatch takes no probe job now: {' '.join(sent.stderr.split())}; {UNSEEN}"


def check_number_of_jobs(site: Site) -> Iterator[Finding]:
    """Compare the jobs in the queue at a time with how many one may submit."""
    limits = [("the controller", math.inf, float(site.conf["MaxJobCount"]))]
    limits += [limit for call in site.taken for limit in site.limits(call)]
    most, origin = min((most, origin) for origin, _, most in limits)
    count = min(site.jobs, site.at_a_time)
    queued = f"{count} of {site.jobs} jobs in the queue at a time; {origin} admits {most:g}"
    if count > most:
        yield FAIL if site.plain else WARN, f"{queued}: set `jobs: {most:g}`"


def check_status(site: Site) -> Iterator[Finding]:
    """Tell whether somebody remembers what became of a job until Snakemake asks."""
    if "slurmdbd" in site.conf["AccountingStorageType"]:
        return
    nobody, key = "there is no accounting database", f"{site.executor}-"
    age = int(site.conf["MinJobAge"].split()[0])
    if site.settings["status_command"] == "sacct":
        yield FAIL, f"{nobody}: set `{key}status-command: squeue`"
    elif age < 3 * int(site.settings["init_seconds_before_status_checks"]):  # it asks sacct then
        first = f"`{key}init-seconds-before-status-checks: {age // 3}`"
        change = f"set {first} and `seconds-between-status-checks: {age // 3}`"
        forgets = f"{nobody}, and the controller forgets jobs after {age} s (MinJobAge)"
        yield FAIL if site.plain else WARN, f"{forgets}: {change}"
    if site.settings["efficiency_report"] == "True":
        yield WARN, f"{nobody}: set `{key}efficiency-report: false`"


def check_preemption(site: Site) -> Iterator[Finding]:
    """Tell whether preempted jobs would be lost."""
    parts = [site.partitions[name] for call in site.taken for name in call.partitions]
    if site.plain and any(part["PreemptMode"] == "CANCEL" for part in parts):
        lost = "PreemptMode=CANCEL, and Snakemake would wait for preempted jobs for ever"
        yield FAIL, f"{lost}: set `executor: reversal-curse-slurm`"


def check_queue(site: Site) -> Iterator[Finding]:
    """Look for jobs of this folder in the queue that would be submitted again."""
    shown = _call("squeue", "--me", "--noheader", "--format=%i|%k|%Z").stdout.splitlines()
    jobs = [line.split("|") for line in shown]  # a comment of another job may hold anything
    here = [(job[0], job[1]) for job in jobs if job[2:] == [str(Path.cwd())]]
    twice = [number for number, rule in here if site.plain or not rule.startswith("rule_train")]
    if twice:
        again = f"{len(twice)} jobs of this folder are in the queue and would be submitted again"
        yield WARN, f"{again}: wait for them, or `scancel {' '.join(twice)}`"


def check_disk(site: Site) -> Iterator[Finding]:
    """Compare what the sweep will write with the space and the inodes that are free."""
    products, tables, states = site.products, 0.0, []
    waiting = [s for r, s in products.points.items() if not products.runs.record(r, s)]
    for settings in waiting:
        words = TASKS[settings.task].vocabulary(settings)
        work = FAMILIES[settings.family].work(settings)
        tables += 5e5 + settings.seeds * words * (2 * words + 4 * settings.embed_dim)
        weights = work.weights / work.launches * (settings.described()["layers"] or 1)
        states.append(1e6 + 12 * weights)  # they and AdamW's two moments
    full = [model for model in products.config.pretrained if model.trained == "full"]
    states += [3e9 * BYTES[model.dtype] * (model.billion_parameters or 0) for model in full]
    gpus = sum(sum(_gpus(node["Gres"]).values()) for node in site.all_nodes)
    largest = sorted(states, reverse=True)[: min(site.at_a_time, gpus or site.at_a_time)]
    checkpoints = 3 * sum(largest)  # the two newest are kept while a third is written
    disk = os.statvfs(products.results)
    free = disk.f_bavail * disk.f_frsize
    sizes = [f"{size / 1e9:,.1f} GB" for size in (tables, checkpoints, free)]
    need = f"results need up to {sizes[0]}, checkpoints in between {sizes[1]}; {sizes[2]} are free"
    if free > tables + checkpoints:
        yield OK, f"{need}, if your quota says no less"
    else:
        yield WARN if free > tables else FAIL, f"{need}: make room, or lower `jobs`"
    # Of a point: tables, record, log, folders, checkpoints; of a job: report, Snakemake's notes.
    files = 12 * len(waiting) + 6 * site.jobs
    if disk.f_files and disk.f_favail < files:
        yield FAIL, f"results need up to {files} files; {disk.f_favail} inodes are free: make room"


def check_probe(site: Site) -> Iterator[Finding]:
    """Wait for what the probe job says of its node: environment, results folder, GPU, models."""
    if not site.probe:
        return
    until, answer, state = time.monotonic() + site.wait, [], "PENDING"
    while not answer and state in (*RUNS, "PENDING", "COMPLETED"):
        time.sleep(0.3)
        job = next(iter(_show("job", site.probe)), {"JobState": "gone"})
        state = job["JobState"]
        answer = json.loads((site.folder / ANSWER).read_text("utf-8"))
        if state in RUNS:
            until = time.monotonic() + site.latency_wait
        elif time.monotonic() > until:
            break
    if answer:
        yield from answer
    elif state == "PENDING":
        yield WARN, f"the probe job waits ({job['Reason']}): {UNSEEN}; `--wait` says how long"
        yield from missing_models(site.products.config)
    else:
        log = site.folder / "log"
        said = log.read_text("utf-8", "replace").strip() if log.exists() else "it left no log"
        line = next((line for line in said.splitlines() if "rror" in line), said)
        failed = f"the probe job failed on node {job.get('NodeList')} ({state}): {line}"
        places = f"{sys.prefix} and {site.folder.parent}"
        yield FAIL, f"{failed}; {places} must be the same on nodes, and writable"


def missing_models(config: Config) -> Iterator[Finding]:
    """Yield which pretrained models cannot be loaded here without network."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    for model in config.pretrained:
        try:
            find_model(model)
        except UserError as error:
            lost = f"{model.hub} is not here"
            if "download failed" not in str(error):
                yield FAIL, str(error)
            elif _network():
                yield WARN, f"{lost}: its job downloads it, if nodes have network"
            else:
                get = f"`hf download {model.hub} --revision {model.revision}`"
                yield FAIL, f"{lost}, nor a network: {get}, HF_HOME on a shared disk"


@cache
def _network() -> bool:
    try:
        urlopen(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), timeout=10).close()
    except OSError:
        return False
    return True


def look_around(config: Config, gpu: bool) -> Iterator[Finding]:
    """Yield what jobs find on this node."""
    import torch

    build, node = f"PyTorch {torch.__version__}", f"node {platform.node()}"
    yield OK, f"{node} has {build}, and writes and renames in results"
    if gpu:
        try:
            torch.ones(9, device="cuda").sum().item()
            yield OK, f"{build} computes on {torch.cuda.get_device_name()}"
        except Exception as error:  # PyTorch's own, the driver's, an unknown architecture
            wrong = f"{build} computes on no GPU of {node}: {first_line(error)}"
            yield FAIL, f"{wrong}; install a build of PyTorch for the driver there"
    yield from missing_models(config)


def main(folder: Path, gpu: bool) -> None:
    """Look around; replace the empty answer that the login node has put into the folder."""
    found = [*look_around(Config.load(folder / "config.json"), gpu)]
    with replacing(folder / ANSWER) as new:
        new.write_text(json.dumps(found), "utf-8")


CHECKS = (
    check_queue,  # before the probe job is there
    check_calls,
    start_probe,
    check_number_of_jobs,
    check_status,
    check_preemption,
    check_disk,
    check_probe,
)

if __name__ == "__main__":
    main(Path(sys.argv[1]), "gpu" in sys.argv[2:])
