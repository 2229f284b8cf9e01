"""SLURM without slurmdbd; --gres asks for GPUs, and one setting is given by hand."""

import shutil
import time

from processes import output_of, wait_for

ACCOUNTING = False


def test_a_sweep_goes_from_the_config_to_figures(workflow):
    gres = ("--set-resources", "train_gpt:gpu=0", "train_gpt:gres=gpu:1")
    workflow.run("all", *gres, "--config", "defaults={epochs: 10}")
    made = {path.name for path in (workflow.directory / "results/figures").iterdir()}
    assert {"reversal_curve.pdf", "reversal_vocab.pdf"} < made
    runs = {path.parent.name for path in workflow.directory.glob("results/runs/**/run.json")}
    assert runs == {"settings=epochs-10+heads-1+seeds-2"}
    trained = workflow.jobs("train_gpt")
    assert [job["TresPerNode"] for job in trained] == ["gres:gpu:1"] * 2
    assert {job["JobState"] for job in trained} == {"COMPLETED"}


def test_jobs_that_slurm_has_forgotten_are_submitted_again_and_silence_is_no_forgetting(workflow):
    cluster = workflow.cluster
    workflow.write_config(epochs=6000, eval_every=3000)
    process = workflow.start("results/figures/reversal_curve.pdf")
    wait_for(lambda: "epoch 0 of" in workflow.training_log())
    cluster.kill("slurmctld")
    time.sleep(20)
    cluster.start("slurmctld")
    wait_for(workflow.jobs)
    assert len(workflow.jobs("train")) == 1
    cluster.kill("slurmctld")
    for path in (cluster.folder / "state").glob("job*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    cluster.start("slurmctld")
    output = output_of(process)
    assert "is gone; looking for what it made" in output
    (job,) = workflow.jobs("train")
    assert job["JobState"] == "COMPLETED"
