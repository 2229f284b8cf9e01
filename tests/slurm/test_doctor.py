"""`reversal-curse doctor` on a real SLURM that says no: one fault at a time."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import yaml

from processes import kill, output_of, start_in_a_group, wait_for
from tiny_models import save_causal, write_facts

from .cluster import PATH

ACCOUNTING = True
EXECUTOR = "reversal-curse-slurm"
USUAL = {
    "latency-wait": 2,
    f"{EXECUTOR}-efficiency-report": False,
    f"{EXECUTOR}-max-runtime": 0,
    "set-resources": {"train_gpt": {"gpu": 0}},  # this machine has none that computes
}
BOTH = "aggregate, train_gpt"
LARGEST = "attempt 3 asks for slurm_partition=main runtime=180 mem_mb=24000 cpus_per_task=1"
UNSEEN = "nodes, their GPUs and disks were not looked at"


def diagnose(workflow, status=1, wait=30, **changes) -> list[str]:
    """Run doctor with changes of the profile; return all that it does not find well."""
    profile = yaml.safe_load((workflow.root / "profiles/slurm/config.yaml").read_text())
    profile |= USUAL | {"snakefile": str(workflow.root / "Snakefile")} | changes
    folder = workflow.directory / "profile"
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(profile))
    command = [sys.executable, "-m", "reversal_curse", "doctor", "config.yaml"]
    command += ["--profile", "profile", "--wait", str(wait)]
    environment = os.environ | {"PYTHONPATH": f"{workflow.root}/src", "PATH": PATH}
    process = start_in_a_group(command, workflow.directory, environment)
    lines = output_of(process, status).splitlines()
    print(*lines, sep="\n")
    assert not (workflow.directory / "results/doctor").exists()
    if len(lines) > 1 and status:
        assert lines.pop().endswith("to mend; keys are those of the profile, profile")
    return [line for line in lines if not line.startswith("ok  ")]


@contextmanager
def changed(cluster, command, before, after):
    """Change something of the cluster for a while: `command` ends with what is changed."""
    cluster.call(*command.split(), before)
    try:
        yield
    finally:
        cluster.call(*command.split(), after)


def test_with_the_changes_that_it_asks_for_all_is_well(workflow):
    short = ("scontrol update PartitionName=main", "MaxTime=60", "MaxTime=INFINITE")
    few = ("sacctmgr -i modify user root set", "MaxSubmitJobs=2", "MaxSubmitJobs=-1")
    with changed(workflow.cluster, *short), changed(workflow.cluster, *few):
        found = diagnose(workflow)
        assert found == [
            f"FAIL  {BOTH}: {LARGEST}; partition main admits 60 minutes: lower `runtime`, or set "
            f"`{EXECUTOR}-max-runtime: 60`",
            "warn  3 of 3 jobs in the queue at a time; account root admits 2: set `jobs: 2`",
        ]
        assert diagnose(workflow, 0, **{f"{EXECUTOR}-max-runtime": 60, "jobs": 2}) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"default-resources": {"slurm_account": "nobodys"}},
            f"{BOTH}: not submitted; Job submission failed with exception: The given account "
            "nobodys appears to be invalid. Available accounts: root",
        ),
        (
            {"default-resources": {"slurm_partition": "nowhere"}},
            f"{BOTH}: attempt 3 asks for slurm_partition=nowhere runtime=90 mem_mb=24000 "
            "cpus_per_task=4; `slurm_partition` must be of: main, again, urgent",
        ),
        (
            {"default-resources": {"qos": "best"}},
            f"{BOTH}: attempt 3 asks for slurm_partition=main runtime=90 mem_mb=24000 "
            "cpus_per_task=4 qos=best; sbatch says: allocation failure: Invalid qos specification; "
            "`sacctmgr show user -s $USER` lists yours",
        ),
        (
            {"set-resources": {"train_gpt": {"gpu_model": "h100"}}},
            "train_gpt: attempt 3 asks for slurm_partition=main gpu=h100:1 runtime=90 "
            "mem_mb=24000 cpus_per_task=4; nodes of partition main have gpu:2: change "
            "`gpu_model`, `gpu` or `slurm_partition`",
        ),
        (
            {"set-resources": {"train_gpt": {"gpu": 3}}},
            "train_gpt: attempt 3 asks for slurm_partition=main gpu=3 runtime=90 mem_mb=24000 "
            "cpus_per_task=4; nodes of partition main have gpu:2: change `gpu_model`, `gpu` or "
            "`slurm_partition`",
        ),
        (
            {"set-resources": {"train_gpt": {"gpu": 0, "mem_mb": "150000 * attempt"}}},
            "train_gpt: attempt 3 asks for slurm_partition=main runtime=90 mem_mb=450000 "
            "cpus_per_task=4; partition main admits 400000 MB: lower `mem_mb`, or set "
            f"`{EXECUTOR}-max-mem-mb: 400000`",
        ),
        (
            {"set-resources": {"train_gpt": {"gpu": 0, "cpus_per_task": 17}}},
            "train_gpt: attempt 3 asks for slurm_partition=main runtime=90 mem_mb=24000 "
            "cpus_per_task=17; sbatch says: allocation failure: Requested node configuration is "
            "not available",
        ),
    ],
)
def test_a_request_that_no_node_grants_is_named_with_the_key_to_change(workflow, changes, found):
    line, *more = diagnose(workflow, **changes)
    assert line.startswith(f"FAIL  {found}")
    assert more == [f"warn  nothing can be submitted: {UNSEEN}"] * found.startswith(BOTH)


@pytest.mark.parametrize(
    ("command", "before", "after", "found"),
    [
        (
            *("sacctmgr -i modify qos normal set", "MaxWall=60", "MaxWall=-1"),
            f"QOS normal admits 60 minutes: lower `runtime`, or set `{EXECUTOR}-max-runtime: 60`",
        ),
        (
            *("scontrol update PartitionName=main", "State=DOWN", "State=UP"),
            "partition main is DOWN: choose another `slurm_partition`",
        ),
    ],
)
def test_a_job_that_sbatch_takes_and_that_would_wait_for_ever_is_named(
    workflow, command, before, after, found
):
    with changed(workflow.cluster, command, before, after):
        assert diagnose(workflow)[0] == f"FAIL  {BOTH}: {LARGEST}; {found}"


def test_without_our_executor_preemption_and_few_submissions_lose_jobs(workflow):
    few = ("sacctmgr -i modify user root set", "MaxSubmitJobs=2", "MaxSubmitJobs=-1")
    with changed(workflow.cluster, *few):
        lines = diagnose(workflow, executor="slurm")
    assert lines == [
        "FAIL  3 of 3 jobs in the queue at a time; account root admits 2: set `jobs: 2`",
        "FAIL  PreemptMode=CANCEL, and Snakemake would wait for preempted jobs for ever: set "
        "`executor: reversal-curse-slurm`",
    ]


def test_a_gpu_on_which_pytorch_does_not_compute_is_named(workflow):
    (line,) = diagnose(workflow, **{"set-resources": {"train_gpt": {"gpu": 1}}})
    assert line.startswith("FAIL  PyTorch")
    assert "computes on no GPU of node" in line


def test_a_full_node_leaves_the_probe_waiting_and_jobs_in_the_queue_are_counted(workflow):
    cluster = workflow.cluster
    cluster.drain()
    process = workflow.start()
    try:
        jobs = wait_for(lambda: (jobs := workflow.jobs("train"))[1:] and jobs)
        numbers = " ".join(job["JobId"] for job in jobs)
        lines = diagnose(workflow, 0, wait=0)
        plain = diagnose(workflow, 1, wait=0, executor="slurm")
        assert [job["JobState"] for job in jobs] == ["PENDING"] * 2
    finally:
        kill(process)
        cluster.call("scancel", "--user=root")
        cluster.resume()
    drained, waits = lines
    assert drained.endswith("but 1 of 1 nodes are down or drained: jobs wait for them")
    assert waits.startswith("warn  the probe job waits (")
    assert waits.endswith(f"): {UNSEEN}; `--wait` says how long")
    queued = "2 jobs of this folder are in the queue and would be submitted again"
    assert f"warn  {queued}: wait for them, or `scancel {numbers}`" in plain


def stop_controller(cluster):
    cluster.daemons["slurmctld"].terminate()  # it writes what it knows of nodes
    cluster.daemons["slurmctld"].wait()


def start_controller(cluster):
    cluster.start("slurmctld")
    wait_for(lambda: "idle" in cluster.call("sinfo", "-h", "-o", "%T"))


def test_a_controller_that_forgets_jobs_needs_accounting_and_one_that_is_down_is_said(workflow):
    cluster, path = workflow.cluster, workflow.cluster.folder / "slurm.conf"
    conf = path.read_text()
    lines = [line for line in conf.splitlines() if not line.startswith("Accounting")]
    stop_controller(cluster)
    try:
        down = diagnose(workflow)
        path.write_text("\n".join(lines).replace("MinJobAge=3600", "MinJobAge=30"))
        start_controller(cluster)
        report = {f"{EXECUTOR}-efficiency-report": True}
        forgets = diagnose(workflow, 0, **report)
        stop_controller(cluster)
    finally:
        path.write_text(conf)
        start_controller(cluster)
    assert len(down) == 1
    assert down[0].startswith("the controller of SLURM does not answer, ask the site: ")
    assert forgets == [
        "warn  there is no accounting database, and the controller forgets jobs after 30 s "
        f"(MinJobAge): set `{EXECUTOR}-init-seconds-before-status-checks: 10` and "
        "`seconds-between-status-checks: 10`",
        f"warn  there is no accounting database: set `{EXECUTOR}-efficiency-report: false`",
    ]


@pytest.mark.parametrize("hidden", ["results", "results, read-only", "environment"])
def test_what_a_node_does_not_share_with_the_login_node_is_named(workflow, hidden):
    cluster, results = workflow.cluster, workflow.directory / "results"
    results.mkdir()
    folder = sys.prefix if hidden == "environment" else str(results)
    mount = 'mount -t tmpfs none "$0"'
    if "read-only" in hidden:
        mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    cluster.kill("slurmd")
    cluster.start("slurmd", "unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', folder)
    try:
        (line,) = diagnose(workflow)
    finally:
        cluster.kill("slurmd")
        cluster.start("slurmd")
    assert line.startswith("FAIL  the probe job")
    assert str(folder) in line


def test_a_full_disk_and_too_few_inodes_are_said_before_they_fill(workflow):
    results = workflow.directory / "results"
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k,nr_inodes=30", "none", results])
    try:
        space, inodes = diagnose(workflow)
    finally:
        subprocess.run(["umount", results], check=True)
    assert "are free: make room, or lower `jobs`" in space
    assert "inodes are free: make room" in inodes


def test_a_model_that_is_nowhere_is_named(workflow, monkeypatch):
    """One on the hub, in a place without network, and one in a folder that is not there."""
    facts = write_facts(workflow.directory)
    there = {"name": "there", "kind": "causal", "facts": facts}
    there["path"] = str(save_causal(workflow.directory / "model"))
    lost = {**there, "name": "lost", "path": "/nowhere"}
    hub = {"name": "hub", "kind": "causal", "hub": "nobody/nothing", "revision": 40 * "0"}
    workflow.write_config(pretrained=[there, lost, hub | {"billion_parameters": 0.1}])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    gpu = {"train_gpt": {"gpu": 0}, "probe_pretrained": {"gpu": 0}}
    assert diagnose(workflow, **{"set-resources": gpu}) == [
        "FAIL  lost: path /nowhere: no such folder",
        f"FAIL  nobody/nothing is not here, nor a network: `hf download nobody/nothing "
        f"--revision {40 * '0'}`, HF_HOME on a shared disk",
    ]
