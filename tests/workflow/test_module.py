"""The workflow as a module of another one, with a config of its own."""

from dataclasses import replace

import pytest
import yaml

from .conftest import TINY, Workflow, job_counts

OTHER = """
configfile: "study.yaml"

module curse:
    snakefile: "{snakefile}"
    config: config["curse"]
    {more}

use rule * from curse as curse_*

rule count:
    default_target: True
    input: "results/mine/metrics.parquet", rules.curse_figure_mine.output
    output: "count.txt"
    shell: "echo {{input}} > {{output}}"
"""
CONFIG = {
    "name": "mine",
    "defaults": TINY["defaults"] | {"learning_rate": "1e-2"},  # as Snakemake reads it
    "sweeps": {"base": {}},
    "figures": {"mine": {"plot": "curves", "sweep": "base"}},
}


@pytest.fixture
def other(root, tmp_path):
    """Write another workflow that uses ours; return a function that does so."""

    def write(config: dict, more: str = "", name: str = "Snakefile") -> Workflow:
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({"curse": config}))
        text = OTHER.format(snakefile=root / name, more=more)
        (tmp_path / "Snakefile").write_text(text)
        return Workflow(tmp_path, tmp_path)

    return write


def test_another_workflow_has_our_rules_with_a_config_of_its_own(other, root):
    workflow = other(CONFIG, name="workflow/Snakefile")
    jobs = ("dataset", "train_gpt", "aggregate", "figure_mine")
    profile = ("--workflow-profile", str(root / "profiles/default"))
    counts = job_counts(workflow.snakemake(*profile))
    assert counts == {"count": 1, **{f"curse_{name}": 1 for name in jobs}}
    assert (workflow.directory / "count.txt").read_text().startswith("results/mine/metrics.parquet")
    assert workflow.jobs(*profile) == {}
    shown = replace(workflow, screen=True).snakemake(*profile, "--dry-run", "--forceall")
    assert "1 figure would be made: mine\nand aggregate, count\n" in shown, "our own names"


@pytest.mark.parametrize(
    ("config", "more", "message"),
    [
        ({"defaults": {"layers": 0}}, "", "config error: config of module curse: defaults.layers:"),
        ({}, 'prefix: "sub"', "module curse: must have no prefix"),
    ],
    ids=["a mistake in its config", "a prefix"],
)
def test_a_mistake_in_a_module_gives_one_line(other, config, more, message):
    workflow = other(CONFIG | config, more)
    lines = workflow.snakemake(status=1).splitlines()
    (complaint,) = [line for line in lines if not line.startswith("Using workflow")]
    assert complaint.startswith(message)
    assert not workflow.find("**/*")
