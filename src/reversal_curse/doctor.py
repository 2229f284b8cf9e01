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
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from reversal_curse.config.errors import UserError, first_line, one_line
from reversal_curse.config.file import Config
from reversal_curse.families import FAMILIES
from reversal_curse.pretrained.model_folder import BYTES, INSTALL, find_model
from reversal_curse.products import Products
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tasks import TASKS

OK, WARN, FAIL = "ok", "warn", "FAIL"
Finding = tuple[str, str]
NAME, ANSWER = "reversal-curse-doctor", "answer.json"
OPTIONS: dict[str, type] = {
    **dict.fromkeys(("-p", "-A", "--qos", "--gpus", "--gres"), str),
    **dict.fromkeys(("-t", "--mem", "--mem-per-cpu", "--cpus-per-task"), int),
}
USER_LIMITS = ("DefaultAccount", "Account", "QOS", "DefaultQOS", "MaxWall", "MaxSubmit")
QOS_LIMITS = ("Name", "MaxWall", "MaxSubmitPU", "MaxSubmitPA", "GrpSubmit")
FILES_OF_A_POINT, FILES_OF_A_JOB = 12, 6
"""At most: tables, record, log, folders, checkpoints; report, logs, Snakemake's notes."""
DOWN = re.compile("DOWN|DRAIN|FAIL|MAINT|NOT_RESPONDING")
SAYS = {
    # what sbatch says, and what to change
    "account": "`slurm_account` in default-resources must be of `sacctmgr show user -s $USER`",
    "qos": "`qos` in default-resources must be of `sacctmgr show user -s $USER`",
}


class Call:
    """A job as the executor hands it to sbatch, or the error that keeps it from doing so."""

    def __init__(self, rule: str, attempt: int, line: list[str], error: str):
        self.rule, self.attempt, self.line, self.error = rule, attempt, line, error
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for option, kind in OPTIONS.items():
            parser.add_argument(option, type=kind, default=kind())
        asks, _ = parser.parse_known_args(line)
        self.where, self.partitions = f"partition {asks.p}", asks.p.split(",") if asks.p else []
        self.account, self.qos, self.minutes = asks.A, asks.qos, asks.t
        self.memory = asks.mem or asks.mem_per_cpu * asks.cpus_per_task
        self.gpus = _gpus(f"gpu:{asks.gpus}" if asks.gpus else asks.gres)
        given = {option: getattr(asks, option.strip("-").replace("-", "_")) for option in OPTIONS}
        options = " ".join(f"{option} {value}" for option, value in given.items() if value)
        self.asks = f"attempt {attempt} asks for {options}"


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
        self.jobs, self.at_a_time = sum(asked["jobs"].values()), asked["at_a_time"]
        self.latency_wait, self.settings = asked["latency_wait"], asked["settings"]
        self.executor, self.plain = asked["executor"], asked["executor"] == "slurm"
        config = _call("scontrol", "show", "config").stdout
        self.conf = dict(re.findall(r"^(\w+) *= (.*?) *$", config, re.MULTILINE))
        self.partitions = {part["PartitionName"]: part for part in _show("partition")}
        self.folder = products.results.absolute() / "doctor"
        self.taken: list[Call] = []
        """Those of the calls that sbatch takes."""
        self.probe = ""
        """The number of the job that looks around on a node."""

    @cached_property
    def _nodes(self) -> list[dict[str, str]]:
        return [node for node in _show("node") if "Partitions" in node]

    def nodes(self, call: Call) -> list[dict[str, str]]:
        """List the nodes of a job's partitions."""
        return [n for n in self._nodes if {*n["Partitions"].split(",")} & {*call.partitions}]

    @cached_property
    def _rows(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        user = ("user", getpass.getuser(), "withassoc")
        return _accounts(USER_LIMITS, *user), _accounts(QOS_LIMITS, "qos")

    def limits(self, call: Call) -> Iterator[tuple[str, float, float]]:
        """Yield the account and the QOS that limit a job, with the most minutes and jobs."""
        if "limits" not in self.conf["AccountingStorageEnforce"]:
            return
        users, qos = self._rows
        rows = [row for row in users if row["Account"] == (call.account or row["DefaultAccount"])]
        names = {part["QoS"] for name, part in self.partitions.items() if name in call.partitions}
        for row in rows:
            only = row["QOS"] if "," not in row["QOS"] else "normal"
            names.add(call.qos or row["DefaultQOS"] or only)
        for row in [*rows, *(row for row in qos if row["Name"] in names)]:
            origin = f"QOS {row['Name']}" if "Name" in row else f"account {row['Account']}"
            counts = [float(count) for name, count in row.items() if "Submit" in name and count]
            yield origin, _minutes(row["MaxWall"]), min(counts, default=math.inf)

    def put(self, setting: str, value: Any) -> str:
        """Say how to set a setting of the executor."""
        return f"set `{self.executor}-{setting}: {value}`"

    def lower(self, resource: str, setting: str, most: float) -> str:
        """Say how to ask for less."""
        if self.plain:
            return f"lower `{resource}` in set-resources"
        return self.put(setting, f"{most:g}")


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
    from snakemake_executor_plugin_slurm.utils import parse_time_to_minutes

    return parse_time_to_minutes(limit) if limit[:1].isdecimal() else math.inf


def doctor(products: Products, files: list[Path], profile: str, wait: float) -> None:
    """Print findings; raises UserError if something would make jobs fail, or wait for ever."""
    if not shutil.which("sbatch"):
        raise UserError("sbatch: no such command here; run this on a login node of the cluster")
    ping = _call("scontrol", "ping")
    if "is UP" not in ping.stdout:
        said = (ping.stdout + ping.stderr).strip().splitlines()[0]
        raise UserError(f"the controller of SLURM does not answer, ask the site: {said}")
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
                _print(f"{level:4}  {one_line(text, 600)}")
    finally:
        if site.probe:
            _call("scancel", site.probe)
        shutil.rmtree(site.folder, ignore_errors=True)
    if failures:
        raise UserError(f"{failures} to mend; keys are those of the profile, {profile}")


def _print(line: str) -> None:
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        line = textwrap.fill(line, width, subsequent_indent=6 * " ", break_on_hyphens=False)
    print(line, flush=True)


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
    found: dict[tuple[str, str], dict[str, str]] = {}
    for call in site.calls:
        problems = _problems(site, call)
        site.taken += [call] * all(level != FAIL for level, _, _ in problems)
        for level, asks, change in problems:
            found.setdefault((level, change), {})[call.rule] = asks
    for (level, change), asked in found.items():
        yield level, f"{', '.join(sorted(asked))}: {[*asked.values()][-1]}; {change}"
    if not found:
        rules = len({call.rule for call in site.calls})
        attempts = " and ".join(map(str, sorted({call.attempt for call in site.calls})))
        memory = max(call.memory for call in site.calls) / 1000
        hours = max(call.minutes for call in site.calls) / 60
        takes = f"sbatch takes jobs of all {rules} rules at attempts {attempts}"
        yield OK, f"{takes}: up to {memory:.3g} GB, {hours:.3g} h"


def _problems(site: Site, call: Call) -> list[tuple[str, str, str]]:
    """List what a job asks for and does not get, and what to change, with a level."""
    if call.error:
        return [(FAIL, "not submitted", " ".join(call.error.split()))]
    if lost := [name for name in call.partitions if name not in site.partitions]:
        known = ", ".join(site.partitions)
        return [(FAIL, f"no partition {lost[0]}", f"`slurm_partition` must be of: {known}")]
    # With some of this, sbatch takes a job, which waits for ever; of some it does not say which.
    if problems := [(FAIL, *problem) for problem in _too_much(site, call)]:
        return problems
    tested = _call("sbatch", "--test-only", *call.line)
    if not tested.returncode or ("SubmitJob" in tested.stderr and not site.plain):
        return []
    said = _words(tested.stderr)
    change = next((f"; {change}" for word, change in SAYS.items() if word in said), "")
    states = [node["State"] for node in site.nodes(call)]
    if "not available" in said and (down := [s for s in states if DOWN.search(s)]):
        change = f"; but {len(down)} of {len(states)} nodes are down or drained: jobs wait for them"
        return [(WARN, call.asks, f"sbatch says: {said}{change}")]
    return [(FAIL, call.asks, f"sbatch says: {said}{change}")]


def _words(said: str) -> str:
    return "; ".join(re.sub(r"^\w+: error: ", "", line) for line in said.strip().splitlines())


def _too_much(site: Site, call: Call) -> Iterator[tuple[str, str]]:
    parts, nodes = [site.partitions[name] for name in call.partitions], site.nodes(call)
    if parts and all(part["State"] != "UP" for part in parts):
        yield f"{call.where} is {parts[0]['State']}", "choose another `slurm_partition`"
    times = [(call.where, max((_minutes(part["MaxTime"]) for part in parts), default=math.inf))]
    times += [(origin, most) for origin, most, _ in site.limits(call)]
    for origin, most in times:
        if call.minutes > most:
            asks = f"attempt {call.attempt} asks for {call.minutes} minutes"
            yield asks, f"{origin} admits {most:g}: {site.lower('runtime', 'max-runtime', most)}"
    most = max((int(n["RealMemory"]) - int(n.get("MemSpecLimit", 0)) for n in nodes), default=0)
    most = min([most, *(int(m) for p in parts if (m := p["MaxMemPerNode"]).isdecimal())])
    if nodes and call.memory > most:
        asks = f"attempt {call.attempt} asks for {call.memory} MB"
        yield asks, f"{call.where} admits {most}: {site.lower('mem_mb', 'max-mem-mb', most)}"
    given = [_gpus(node["Gres"]) for node in nodes]
    models = ", ".join(sorted({model for gpus in given for model in gpus if model}))
    for model, count in call.gpus.items():
        most = max((g.get(model, 0) if model else sum(g.values()) for g in given), default=0)
        asks = f"asks for {' '.join(filter(None, [str(count), model, 'GPU']))}{'s' * (count > 1)}"
        if not any(given):
            yield asks, f"{call.where} has none: choose a `slurm_partition` with GPUs"
        elif not most:
            allowed = f"must be of: {models}" if models else "must be left out: nodes name none"
            yield asks, f"`gpu_model` in {call.where} {allowed}"
        elif most < count:
            yield (
                asks,
                f"nodes of {call.where} have {most}: lower `gpus` of the model in the config",
            )


def start_probe(site: Site) -> Iterator[Finding]:
    """Submit the smallest job with a GPU, with a look around in place of its work."""
    call = min(site.taken, key=lambda call: (not call.gpus, call.memory), default=None)
    if not call:
        yield WARN, "nothing can be submitted: nodes, their GPUs and disks were not looked at"
        return
    (site.folder / "config.json").write_text(site.products.config.to_json(), "utf-8")
    (site.folder / ANSWER).write_text("{}", "utf-8")
    look = [sys.executable, "-m", "reversal_curse.doctor", str(site.folder)]
    step = ["srun", "-n1", "--nodes=1", "--cpu-bind=q", *look, *["gpu"] * bool(call.gpus)]
    # The last argument is what Snakemake would run; of two equal options the last one counts.
    ours = ["-t", "5", "--job-name", NAME, "--comment", NAME, "--output", f"{site.folder}/log"]
    sent = _call("sbatch", *call.line[:-1], *ours, f"--wrap={shlex.join(step)}")
    site.probe = sent.stdout.strip().split(";")[0]
    if not site.probe:
        yield WARN, f"no job can be sent now to look around on a node: {_words(sent.stderr)}"


def check_gpu_models(site: Site) -> Iterator[Finding]:
    """Warn if jobs of one rule may run on unlike GPUs."""
    for where, call in {call.where: call for call in site.calls if "" in call.gpus}.items():
        models = sorted({model for node in site.nodes(call) for model in _gpus(node["Gres"])})
        if len(models) > 1:
            unlike = f"{where} has unlike GPUs, {', '.join(models)}, which may train unlike"
            yield WARN, f"{unlike}: choose a `gpu_model`, or `precision` in the config"


def check_number_of_jobs(site: Site) -> Iterator[Finding]:
    """Compare the jobs in the queue at a time with how many one may submit."""
    limits = [("the controller", math.inf, float(site.conf["MaxJobCount"]))]
    limits += [limit for call in site.calls for limit in site.limits(call)]
    most, origin = min((most, origin) for origin, _, most in limits)
    count = min(site.jobs, site.at_a_time)
    queued = f"{count} of {site.jobs} jobs in the queue at a time; {origin} admits {most:g}"
    if count <= most:
        yield OK, queued
    elif site.plain:
        yield FAIL, f"{queued}, and refused ones use up `retries`: set `jobs: {most:g}`"
    else:
        yield WARN, f"{queued}, the others are tried again and again: set `jobs: {most:g}`"


def check_status(site: Site) -> Iterator[Finding]:
    """Tell whether somebody remembers what became of a job until Snakemake asks."""
    first = int(site.settings["init_seconds_before_status_checks"])
    age = int(site.conf["MinJobAge"].split()[0])
    remembered = f"the controller remembers jobs for {age} s (MinJobAge)"
    if site.conf["AccountingStorageType"] != "accounting_storage/none":
        yield OK, f"{remembered}, the accounting database for longer"
        return
    if site.settings["status_command"] == "sacct":
        yield FAIL, f"there is no accounting database: {site.put('status-command', 'squeue')}"
    elif age < 3 * first:  # then the plugin asks sacct
        often = max(1, age // 3)
        change = site.put("init-seconds-before-status-checks", often)
        change += f" and `seconds-between-status-checks: {often}`"
        yield FAIL if site.plain else WARN, f"{remembered}, no database does: {change}"
    else:
        yield OK, f"{remembered}, no database does"
    if site.settings["efficiency_report"] == "True":
        yield WARN, f"there is no accounting database: {site.put('efficiency-report', 'false')}"


def check_preemption(site: Site) -> Iterator[Finding]:
    """Tell what becomes of preempted jobs."""
    used = {name for call in site.calls for name in call.partitions} & site.partitions.keys()
    modes = sorted({site.partitions[name]["PreemptMode"] for name in used} - {"OFF"})
    if site.conf["PreemptType"] == "preempt/none" or not modes:
        yield OK, "jobs are not preempted"
    elif "CANCEL" in modes and site.plain:
        lost = "PreemptMode=CANCEL, and Snakemake would wait for preempted jobs for ever"
        yield FAIL, f"{lost}: set `executor: reversal-curse-slurm`"
    else:
        again = "Snakemake submits" if "CANCEL" in modes else "SLURM queues"
        yield OK, f"{again} preempted jobs again (PreemptMode={','.join(modes)})"


def check_queue(site: Site) -> Iterator[Finding]:
    """Look for jobs of this folder in the queue."""
    shown = _call("squeue", "--me", "--noheader", "--format=%i|%k|%Z").stdout.splitlines()
    jobs = [line.split("|", 2) for line in shown]
    ours = {n: comment for n, comment, at in jobs if at == str(Path.cwd()) and comment != NAME}
    twice = [n for n, comment in ours.items() if site.plain or not comment.startswith("rule_train")]
    if twice:
        again = f"{len(twice)} jobs of this folder are in the queue and would be submitted again"
        some = " ".join([*twice[:3], *["..."] * (len(twice) > 3)])
        yield WARN, f"{again}: wait for them, or `scancel {some}`"
    else:
        goes_on = "; Snakemake goes on with them" * bool(ours)
        yield OK, f"{len(ours) or 'no'} jobs of this folder are in the queue{goes_on}"


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
    for model in products.config.pretrained:
        if model.trained == "full":
            states.append(3e9 * BYTES[model.dtype] * (model.billion_parameters or 0))
    gpus = sum(sum(_gpus(node["Gres"]).values()) for node in site._nodes)
    largest = sorted(states, reverse=True)[: min(site.at_a_time, gpus or site.at_a_time)]
    checkpoints = 3 * sum(largest)  # the two newest are kept while a third is written
    disk = os.statvfs(products.results)
    free = disk.f_bavail * disk.f_frsize
    need = f"results need up to {_size(tables)}, checkpoints in between {_size(checkpoints)}"
    if free > tables + checkpoints:
        yield OK, f"{need}; {_size(free)} are free, if your quota says no less"
    else:
        level = WARN if free > tables else FAIL
        yield level, f"{need}; {_size(free)} are free: make room, or lower `jobs`"
    files = FILES_OF_A_POINT * len(waiting) + FILES_OF_A_JOB * site.jobs
    if disk.f_files and disk.f_favail < files:
        yield FAIL, f"results need up to {files} files; {disk.f_favail} inodes are free: make room"


def _size(count: float) -> str:
    unit, name = next(u for u in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if count >= u[0] / 10)
    return f"{count / unit:.1f} {name}"


def check_probe(site: Site) -> Iterator[Finding]:
    """Wait for what the probe job says of its node: environment, results folder, GPU, models."""
    if not site.probe:
        return
    answer, job, asked, ended = {}, {}, time.monotonic(), 0.0
    while not answer:
        time.sleep(0.3)
        job, now = next(iter(_show("job", site.probe)), {"JobState": "gone"}), time.monotonic()
        answer = json.loads((site.folder / ANSWER).read_text("utf-8"))
        if job["JobState"] == "PENDING" and now > asked + site.wait:
            break
        if job["JobState"] not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            ended = ended or now
            if job["JobState"] != "COMPLETED" or now > ended + site.latency_wait:
                break
    if answer:
        yield from _on_node(site, answer)
    elif job["JobState"] == "PENDING":
        unseen = "nodes, their GPUs and disks were not looked at"
        yield WARN, f"the probe job waits ({job['Reason']}): {unseen}; `--wait` says how long"
        yield from _models(site, missing_models(site.products.config), network=True)
    else:
        yield FAIL, _why_silent(site, job)


def _on_node(site: Site, answer: dict[str, Any]) -> Iterator[Finding]:
    build, node = f"PyTorch {answer['torch']}", f"node {answer['host']}"
    yield OK, f"{node} has {build}, and writes and renames in results"
    if answer["gpu"]:
        yield OK, f"{build} computes on {answer['gpu']} with {_size(answer['gpu_bytes'])}"
        points = site.products.points.values()
        need = max((FAMILIES[s.family].memory(s) for s in points), default=0)
        if need > answer["gpu_bytes"] * 4 / 5:  # as training does
            yield FAIL, f"a seed needs up to {_size(need)} of a GPU: choose a larger `gpu_model`"
    elif answer["why_no_gpu"]:
        wrong = f"{build} computes on no GPU of {node}: {answer['why_no_gpu']}"
        yield FAIL, f"{wrong}; install a build of PyTorch for the driver there"
    yield from _models(site, answer["models"], answer["network"])


def _models(site: Site, missing: dict[str, str], network: bool) -> Iterator[Finding]:
    models, said = site.products.config.pretrained, set()
    for model in models:
        text = missing.get(model.name, "")
        if model.hub and text and INSTALL not in text:
            get = f"`hf download {model.hub} --revision {model.revision}`"
            text = (
                f"{model.hub} is not here, nodes have no network: {get}, HF_HOME on a shared disk"
            )
            if network:
                text = f"{model.hub} is not here: its job downloads it, if nodes have network"
        if text and text not in said:
            yield WARN if "its job" in text else FAIL, text
        said.add(text)
    if models and not missing:
        yield OK, f"all {len(models)} pretrained models are here"


def _why_silent(site: Site, job: dict[str, str]) -> str:
    """Say why a probe job that has ended gave no answer."""
    said, node = "", f"node {job.get('NodeList', '')}"
    with suppress(OSError):
        said = (site.folder / "log").read_text("utf-8", "replace").strip()
    if said:
        line = next((line for line in said.splitlines() if "rror" in line), said)
        places = f"{sys.prefix} and {site.folder.parent} must be the same on nodes"
        return f"the probe job failed on {node}: {line}; {places}"
    end = f"{job['JobState']}, ExitCode {job.get('ExitCode')}"
    shared = f"{site.folder.parent} must be on a disk that nodes share and write"
    return f"the probe job on {node} left nothing in results ({end}): {shared}"


def missing_models(config: Config) -> dict[str, str]:
    """Say which pretrained models cannot be loaded here without network, by name."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    missing = {}
    for entry in config.pretrained:
        try:
            find_model(entry)
        except UserError as error:
            missing[entry.name] = str(error)
    return missing


def look_around(folder: Path, gpu: bool) -> None:
    """Look around on a node; replace the answer that the login node has put into the folder."""
    import torch

    config = Config.load(folder / "config.json")
    answer: dict[str, Any] = {"host": platform.node(), "torch": torch.__version__}
    answer |= {"gpu": "", "why_no_gpu": "", "models": missing_models(config), "network": True}
    if gpu:
        try:
            torch.ones(9, device="cuda").sum().item()
            answer["gpu"] = torch.cuda.get_device_name()
            answer["gpu_bytes"] = torch.cuda.mem_get_info()[1]
        except Exception as error:  # PyTorch's own, the driver's, an unknown architecture
            answer["why_no_gpu"] = first_line(error)
    if answer["models"]:
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        try:
            urllib.request.urlopen(hub, timeout=10).close()
        except OSError:
            answer["network"] = False
    with replacing(folder / ANSWER) as new:
        new.write_text(json.dumps(answer), "utf-8")


CHECKS = (
    check_calls,
    start_probe,
    check_gpu_models,
    check_number_of_jobs,
    check_status,
    check_preemption,
    check_queue,
    check_disk,
    check_probe,
)

if __name__ == "__main__":
    look_around(Path(sys.argv[1]), "gpu" in sys.argv[2:])
