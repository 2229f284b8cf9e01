"""SLURM without slurmdbd; --gres asks for GPUs, and one setting is given by hand."""

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
