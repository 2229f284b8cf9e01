"""Without slurmdbd; and with GPUs asked for by --gres."""

from __future__ import annotations

from .jobs import known, new_jobs

ACCOUNTING = False


def test_a_sweep_goes_from_the_config_to_figures(workflow):
    before = known(workflow.cluster)
    gres = ("--set-resources", "train_gpt:gpu=0", "train_gpt:gres=gpu:1")
    workflow.finish(workflow.start("all", *gres))
    made = {path.name for path in (workflow.directory / "results/figures").iterdir()}
    assert {"reversal_curve.pdf", "reversal_vocab.pdf"} < made
    trained = new_jobs(workflow.cluster, "train_gpt", before)
    assert [job["TresPerNode"] for job in trained] == ["gres:gpu:1"] * 2
    assert {job["JobState"] for job in trained} == {"COMPLETED"}
