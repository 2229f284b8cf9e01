"""A sweep through `--profile slurm`: what reaches SLURM, and what survives failures."""

import time

import pytest

from processes import kill, output_of, wait_for
from tiny_models import save_causal, write_facts

ACCOUNTING = True
LONG = {"epochs": 12000, "eval_every": 3000}  # long enough to disturb
CURVE = "results/figures/reversal_curve.pdf"
BOTH = "results/figures/reversal_vocab.pdf"  # trains both points


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
        assert "mem=8000M" in job["TRES"]
        assert "cpu=4" in job["TRES"]
        assert job["TimeLimit"] == "00:30:00"
    for job in others:
        assert "TresPerJob" not in job
        assert "mem=8000M" in job["TRES"]
        assert job["TimeLimit"] == "01:00:00"
    accounts = [job for job in workflow.cluster.accounts() if job["JobID"] not in workflow.earlier]
    for job in accounts:
        training = job["Comment"].startswith("rule_train")
        assert ("gres/gpu=1" in job["AllocTRES"]) == training
        assert ("gres/gpu" in job["AllocTRES"]) == training
        assert job["ReqMem"] == "8000M"
    assert {job["State"] for job in accounts} == {"COMPLETED"}
    (report,) = workflow.directory.glob("results/logs/slurm/efficiency_report_*.csv")
    assert "train_gpt" in report.read_text()


def test_a_cancelled_job_is_submitted_again_with_more_memory_and_time_and_goes_on(workflow):
    """More, but not more than the site allows."""
    workflow.write_config(**LONG)
    process = workflow.start(CURVE, "--reversal-curse-slurm-max-runtime", "50")
    (first,) = wait_for(workflow.training)
    wait_for(lambda: "epoch 0 of" in workflow.training_log())
    workflow.cluster.call("scancel", first["JobId"])
    output_of(process)
    jobs = workflow.jobs("train_gpt")
    assert [job["JobState"] for job in jobs] == ["CANCELLED", "COMPLETED"]
    assert "mem=16000M" in jobs[1]["TRES"]
    assert jobs[1]["TimeLimit"] == "00:50:00"
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
    cluster.drain()
    try:
        process = workflow.start(CURVE)
        wait_for(workflow.jobs)
        time.sleep(3)
        assert not workflow.training_log()
    finally:
        cluster.resume()
    wait_for(workflow.training)
    cluster.kill("slurmd")
    time.sleep(2)
    cluster.start("slurmd")
    output_of(process)
    assert (workflow.directory / CURVE).exists()


@pytest.mark.parametrize(
    ("partition", "states"), [("main", ["PREEMPTED", "COMPLETED"]), ("again", ["COMPLETED"])]
)
def test_a_preempted_job_goes_on_whoever_puts_it_back_into_the_queue(workflow, partition, states):
    """`main` cancels the job, and Snakemake submits it again; in `again`, SLURM requeues it."""
    workflow.write_config(epochs=3000, eval_every=3000)
    process = workflow.start(CURVE, "--set-resources", f"train_gpt:slurm_partition={partition}")
    wait_for(lambda: "epoch 0 of" in workflow.training_log())
    urgent = ("--partition=urgent", "--gpus=2", "--output=/dev/null", "--wrap=sleep 5")
    workflow.cluster.call("sbatch", *urgent)
    ended = ("PREEMPTED", "PENDING")
    (job,) = wait_for(lambda: [job for job in workflow.jobs("train") if job["JobState"] in ended])
    time.sleep(8)  # Snakemake looks three times
    # SLURM would let a requeued job wait for two minutes.
    workflow.cluster.call("scontrol", "update", f"JobId={job['JobId']}", "StartTime=now")
    output = output_of(process)
    assert [job["JobState"] for job in workflow.jobs("train_gpt")] == states, output
    assert "going on after epoch" in workflow.training_log()


def test_a_limit_on_submitted_jobs_holds_them_back_and_costs_no_retry(workflow):
    output = workflow.run(BOTH, "--reversal-curse-slurm-qos", "few", "--retries", "0")
    assert {job["JobState"] for job in workflow.jobs()} == {"COMPLETED"}
    assert len(workflow.jobs("train")) == 2
    assert output.count("SLURM takes no job now (QOSMaxSubmitJobPerUserLimit") == 1, output


def test_a_request_that_slurm_refuses_is_one_line_and_is_not_repeated(workflow):
    """One line at once, and the same in the summary."""
    output = workflow.run(CURVE, "--set-resources", "train_gpt:gpu=64", status=1)
    why = "failed: sbatch refused: Requested node configuration is not available"
    assert [line for line in output.splitlines() if "sbatch" in line] == [
        f"train_gpt (base, vocab): {why}"
    ] * 2
    (job,) = workflow.jobs("train")  # SLURM keeps what it refuses
    assert job["JobState"] == "FAILED"


def test_when_snakemake_is_killed_the_next_call_goes_on_with_its_jobs(workflow):
    workflow.write_config(epochs=6000, eval_every=3000)
    process = workflow.start(BOTH)
    wait_for(lambda: len(workflow.training()) == 2)
    kill(process)
    note = ("--comment", "a job of another project,\nin two lines", "--output", "/dev/null")
    workflow.cluster.call("sbatch", *note, "--mem", "100", "--wrap", "sleep 30")
    output = workflow.run(BOTH)
    assert [job["JobState"] for job in workflow.jobs("train")] == ["COMPLETED"] * 2
    assert output.count("going on with SLURM job") == 2, output
