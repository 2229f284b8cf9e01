"""A sweep through `--profile slurm`: what arrives in SLURM, and what survives."""

from __future__ import annotations

import os
import signal
import time

LONG = {"epochs": 6000, "eval_every": 3000}  # long enough to disturb


def new_jobs(cluster, rule: str, before: set[str]) -> list[dict[str, str]]:
    return [job for job in cluster.jobs_of(rule) if job["JobId"] not in before]


def known(cluster) -> set[str]:
    return {job["JobId"] for job in cluster.jobs()}


def wait_for(condition, seconds: float = 90):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


def running(cluster, before: set[str]) -> list[dict[str, str]]:
    jobs = new_jobs(cluster, "train", before)
    return [job for job in jobs if job["JobState"] == "RUNNING"]


def test_a_sweep_goes_from_the_config_to_figures_with_one_gpu_for_each_training_job(workflow):
    before = known(workflow.cluster)
    workflow.finish(workflow.start())
    made = {path.name for path in (workflow.directory / "results/figures").iterdir()}
    names = ("reversal_curve", "reversal_vocab")
    assert made == {f"{name}.{suffix}" for name in names for suffix in ("pdf", "png")}
    trained = new_jobs(workflow.cluster, "train_gpt", before)
    others = [
        job
        for job in workflow.cluster.jobs()
        if job["JobId"] not in before and not job.get("Comment", "").startswith("rule_train")
    ]
    assert len(trained) == 2
    assert others
    for job in trained:
        assert job["TresPerJob"] == "gres:gpu:1"
        assert "mem=48000M" in job["TRES"]
        assert "cpu=4" in job["TRES"]
        assert job["TimeLimit"] == "1-00:00:00"
    for job in others:
        assert "TresPerJob" not in job
        assert "mem=8000M" in job["TRES"]
        assert job["TimeLimit"] == "01:00:00"


def test_a_cancelled_job_is_tried_again_with_more_and_goes_on_where_it_was(workflow):
    workflow.write_config(**LONG)
    before = known(workflow.cluster)
    process = workflow.start("results/figures/reversal_curve.pdf")
    (first,) = wait_for(lambda: running(workflow.cluster, before))
    time.sleep(6)  # it trains
    workflow.cluster.call("scancel", first["JobId"])
    workflow.finish(process)
    jobs = sorted(
        new_jobs(workflow.cluster, "train_gpt", before), key=lambda job: int(job["JobId"])
    )
    assert [job["JobState"] for job in jobs] == ["CANCELLED", "COMPLETED"]
    assert "mem=96000M" in jobs[1]["TRES"]
    assert jobs[1]["TimeLimit"] == "2-00:00:00"
    assert (workflow.directory / "results/figures/reversal_curve.pdf").exists()
    assert not workflow.checkpoints()


def test_a_job_whose_time_is_nearly_up_stops_and_the_next_one_goes_on(workflow):
    """Three minutes, of which the last two are not used; the second attempt has six."""
    workflow.write_config(epochs=100000, eval_every=50000)
    before = known(workflow.cluster)
    target = "results/figures/reversal_curve.pdf"
    output = workflow.finish(
        workflow.start(target, "--set-resources", "train_gpt:runtime=3 * attempt")
    )
    jobs = sorted(
        new_jobs(workflow.cluster, "train_gpt", before), key=lambda job: int(job["JobId"])
    )
    assert [job["JobState"] for job in jobs] == ["FAILED", "COMPLETED"]
    assert [job["TimeLimit"] for job in jobs] == ["00:03:00", "00:06:00"]
    assert "stopped by the end of the job's time after epoch" in output
    (log,) = workflow.directory.glob("results/logs/runs/**/*.log")
    assert "going on after epoch" in log.read_text()


def test_a_drained_node_delays_the_sweep_and_no_more(workflow):
    cluster = workflow.cluster
    cluster.call("scontrol", "update", f"NodeName={cluster.host}", "State=DRAIN", "Reason=test")
    try:
        before = known(cluster)
        process = workflow.start("results/figures/reversal_curve.pdf")
        wait_for(lambda: known(cluster) - before)
        time.sleep(3)
        assert not list(workflow.directory.glob("results/data/**/*.parquet"))
    finally:
        cluster.call("scontrol", "update", f"NodeName={cluster.host}", "State=RESUME")
    workflow.finish(process)


def test_a_killed_node_daemon_that_comes_back_loses_nothing(workflow):
    workflow.write_config(**LONG)
    before = known(workflow.cluster)
    process = workflow.start("results/figures/reversal_curve.pdf")
    wait_for(lambda: running(workflow.cluster, before))
    workflow.cluster.kill_node()
    time.sleep(2)
    workflow.cluster.start_node()
    workflow.finish(process)
    assert (workflow.directory / "results/figures/reversal_curve.pdf").exists()


def test_when_snakemake_is_killed_the_next_one_ends_complete(workflow):
    workflow.write_config(**LONG)
    before = known(workflow.cluster)
    target = "results/figures/reversal_curve.pdf"
    process = workflow.start(target)
    wait_for(lambda: running(workflow.cluster, before))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not running(workflow.cluster, before), seconds=200)
    workflow.finish(workflow.start("--unlock"))
    workflow.finish(workflow.start(target))
    assert (workflow.directory / target).exists()
