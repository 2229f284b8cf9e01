"""SLURM without slurmdbd; --gres asks for GPUs, and one setting is given by hand."""

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


def test_a_job_that_slurm_has_forgotten_is_submitted_again_and_silence_is_no_forgetting(workflow):
    cluster = workflow.cluster
    cluster.drain()
    process = workflow.start("results/figures/reversal_curve.pdf")
    wait_for(workflow.jobs)
    time.sleep(8)  # until the controller has saved it
    cluster.kill("slurmctld")
    time.sleep(15)
    cluster.start("slurmctld")
    wait_for(workflow.jobs)
    time.sleep(8)
    assert len(workflow.jobs()) == 1
    cluster.kill("slurmctld")
    for path in (cluster.folder / "state").glob("job*"):
        path.unlink()
    workflow.earlier.clear()  # it counts from one again
    cluster.start("slurmctld")
    wait_for(lambda: cluster.call("sinfo", "-h"))
    cluster.resume()
    output = output_of(process)
    assert output.count("is gone; looking for what it made") == 1, output
    (job,) = workflow.jobs("train")
    assert job["JobState"] == "COMPLETED"
