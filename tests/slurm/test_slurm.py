"""A sweep through `--profile slurm`: what reaches SLURM, and what survives failures."""

import time

from processes import kill, output_of, wait_for
from tiny_models import save_causal, write_facts

ACCOUNTING = True
LONG = {"epochs": 12000, "eval_every": 3000}  # long enough to disturb
CURVE = "results/figures/reversal_curve.pdf"


def test_a_sweep_goes_from_the_config_to_figures_with_one_gpu_for_each_training_job(workflow):
    workflow.run()
    made = {path.name for path in (workflow.directory / "results/figures").iterdir()}
    names = ("reversal_curve", "reversal_vocab", "claims_overview")
    assert made == {f"{name}.{suffix}" for name in names for suffix in ("pdf", "png", "svg", "csv")}
    trained = workflow.jobs("train_gpt")
    others = [job for job in workflow.jobs() if job not in trained]
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
    accounts = [job for job in workflow.cluster.accounts() if job["JobID"] not in workflow.earlier]
    for job in accounts:
        training = job["Comment"].startswith("rule_train")
        assert ("gres/gpu=1" in job["AllocTRES"]) == training
        assert ("gres/gpu" in job["AllocTRES"]) == training
        assert job["ReqMem"] == ("48000M" if training else "8000M")
    assert {job["State"] for job in accounts} == {"COMPLETED"}
    (report,) = workflow.directory.glob("results/logs/slurm/efficiency_report_*.csv")
    assert "train_gpt" in report.read_text()


def test_a_cancelled_job_is_submitted_again_with_more_memory_and_time_and_goes_on(workflow):
    workflow.write_config(**LONG)
    process = workflow.start(CURVE)
    (first,) = wait_for(workflow.training)
    wait_for(lambda: "epoch 0 of" in workflow.training_log())
    workflow.cluster.call("scancel", first["JobId"])
    output_of(process)
    jobs = workflow.jobs("train_gpt")
    assert [job["JobState"] for job in jobs] == ["CANCELLED", "COMPLETED"]
    assert "mem=96000M" in jobs[1]["TRES"]
    assert jobs[1]["TimeLimit"] == "2-00:00:00"
    assert "going on after epoch" in workflow.training_log()
    assert (workflow.directory / CURVE).exists()
    assert not list(workflow.directory.glob("results/checkpoints/*"))


def test_a_job_whose_time_is_nearly_up_stops_and_the_next_one_goes_on(workflow):
    """The first attempt has three minutes but leaves the last two unused; the second has six."""
    workflow.write_config(epochs=60000, eval_every=30000)
    output = workflow.run(CURVE, "--set-resources", "train_gpt:runtime=3 * attempt")
    jobs = workflow.jobs("train_gpt")
    assert [job["JobState"] for job in jobs] in (
        ["FAILED", "COMPLETED"],
        ["FAILED", "FAILED", "COMPLETED"],  # on a slow machine
    )
    assert [job["TimeLimit"] for job in jobs][:2] == ["00:03:00", "00:06:00"]
    assert "base: stopped after epoch" in output
    assert "stopped by the end of the job's time after epoch" in workflow.training_log()
    assert "going on after epoch" in workflow.training_log()


def test_a_pretrained_model_is_probed_with_a_gpu_and_the_memory_of_its_size(workflow):
    entry = {"name": "tiny", "kind": "causal", "facts": write_facts(workflow.directory)}
    entry |= {"path": str(save_causal(workflow.directory / "model")), "steps": 2, "seeds": 1}
    workflow.write_config(pretrained=[entry])
    workflow.run("pretrained")
    (job,) = workflow.jobs("probe_pretrained")
    assert job["TresPerJob"] == "gres:gpu:1"
    assert "mem=8001M" in job["TRES"]
    assert job["TimeLimit"] == "12:00:00"
    assert len(list(workflow.directory.glob("results/pretrained/*.parquet"))) == 3


def test_a_drained_node_only_delays_the_sweep_and_a_killed_slurmd_loses_nothing(workflow):
    cluster = workflow.cluster
    workflow.write_config(**LONG)
    cluster.call("scontrol", "update", f"NodeName={cluster.host}", "State=DRAIN", "Reason=test")
    try:
        process = workflow.start(CURVE)
        wait_for(workflow.jobs)
        time.sleep(3)
        assert not workflow.training_log()
    finally:
        cluster.call("scontrol", "update", f"NodeName={cluster.host}", "State=RESUME")
    wait_for(workflow.training)
    cluster.kill_node()
    time.sleep(2)
    cluster.start_node()
    output_of(process)
    assert (workflow.directory / CURVE).exists()


def test_when_snakemake_is_killed_the_next_call_finishes_the_work(workflow):
    workflow.write_config(**LONG)
    process = workflow.start(CURVE)
    wait_for(workflow.training)
    kill(process)
    wait_for(lambda: not workflow.training(), seconds=200)
    workflow.run("--unlock")
    workflow.run(CURVE)
    assert (workflow.directory / CURVE).exists()
