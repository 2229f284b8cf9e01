"""A mistake in a config stops Snakemake with a line for each and writes nothing.

`tests/unit/test_config.py` holds the table of all mistakes; here a few of each kind go
through Snakemake itself.
"""

from __future__ import annotations

import shutil

import pytest

MISTAKES = {
    "unknown key": (
        "sweeps: {a: {}}\nfigure: {}\n",
        ["line 2: figure: unknown key (did you mean figures?); allowed: name, defaults, families"],
    ),
    "two at once": (
        "defaults:\n  layers: -1\nsweeps:\n  $(touch owned): {}\n",
        [
            "config.yaml, line 2: defaults.layers: must be greater than",
            "config.yaml, line 3: sweeps: a key must be a name",
        ],
    ),
    "heads": (
        "sweeps:\n  a:\n    heads: 5\n",
        ["line 2: sweeps.a: heads 5 with embed_dim 768; allowed: heads that divide embed_dim"],
    ),
    "duplicate key": (
        "sweeps: {a: {}}\nsweeps: {b: {}}\n",
        ['line 2: no YAML: the key "sweeps" stands twice'],
    ),
    "figure without its table": (
        "sweeps: {a: {}}\nfigures:\n  bilinear_separation: a\n",
        ["line 3: figures.bilinear_separation: sweep a has no separation; allowed: the family"],
    ),
}


def written(workflow) -> set[str]:
    """What stands in the working directory, without Snakemake's own log of the call."""
    return {path.name for path in workflow.directory.iterdir()} - {".snakemake"}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(workflow, case):
    config, expected = MISTAKES[case]
    workflow.config_file.write_text(config)
    lines = workflow.snakemake(status=1).splitlines()
    complaints = [line for line in lines if not line.startswith("Using workflow")]
    assert len(complaints) == len(expected), lines
    for complaint, text in zip(complaints, expected, strict=True):
        assert complaint.startswith("config error: ")
        assert text in complaint
    assert written(workflow) == {"config.yaml"}


@pytest.mark.parametrize("content", ["sweeps: [{name: a", "hello", ""])
def test_a_file_that_is_no_yaml_is_refused_by_snakemake_before_us(workflow, content):
    """Snakemake reads a --configfile before any of our code; its message has two lines."""
    workflow.config_file.write_text(content)
    output = workflow.snakemake(status=1)
    assert "Config file" in output
    assert "Traceback" not in output
    assert written(workflow) == {"config.yaml"}


def test_a_broken_default_config_is_one_line(workflow, root, tmp_path_factory):
    """The default config is read by us first."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copy(root / "Snakefile", checkout)
    shutil.copytree(root / "workflow", checkout / "workflow")
    (checkout / "config").mkdir()
    (checkout / "config/config.yaml").write_text("sweeps: [{name: a")
    workflow.config_file.unlink()
    workflow.root = checkout
    output = workflow.snakemake(status=1)
    assert output.startswith("config error: ")
    assert "config.yaml, line 1: no YAML" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    "old", ["trained", "runs/task=reversal/family=gpt/layers=1/heads=1/settings=0123"]
)
def test_results_of_an_older_version_are_refused_in_one_line(workflow, old):
    (workflow.directory / "results" / old).mkdir(parents=True)
    lines = workflow.snakemake("--dry-run", status=1).splitlines()
    (complaint,) = [line for line in lines if not line.startswith("Using workflow")]
    assert complaint.startswith("results: holds runs of version 0.1")
