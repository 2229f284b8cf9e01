"""Mistakes stop Snakemake with one line each, and nothing is written.

`tests/unit/test_config.py` has the table of all mistakes; here one of each kind goes through
Snakemake itself.
"""

import shutil

import pytest

MISTAKES = {
    "defaults:\n  layers: -1\nsweeps:\n  $(touch owned): {}\n": [
        "config.yaml, line 2: defaults.layers: must be greater than",
        "config.yaml, line 3: sweeps: a key must be a name",
    ],
    "sweeps:\n  a:\n    heads: 5\n": [
        "line 2: sweeps.a: heads 5 with embed_dim 768; allowed: heads that divide embed_dim"
    ],
    "sweeps: {a: {seeds: {range: [1, 9999]}, layers: {range: [1, 9999]}}}": [
        "line 1: sweeps: 99,980,001 grid points; allowed: at most 25,000"
    ],
}


def complaints(workflow, *arguments: str) -> list[str]:
    lines = workflow.snakemake(*arguments, status=1).splitlines()
    return [line for line in lines if not line.startswith("Using workflow")]


@pytest.mark.parametrize(
    "config", MISTAKES, ids=["two of the file", "one of the grid", "a large grid"]
)
def test_a_mistake_gives_one_line_and_nothing_is_written(workflow, config):
    workflow.config_file.write_text(config)
    for complaint, text in zip(complaints(workflow), MISTAKES[config], strict=True):
        assert complaint.startswith("config error: ")
        assert text in complaint
    left = {path.name for path in workflow.directory.iterdir()}
    assert left == {"config.yaml", ".snakemake"}  # Snakemake's own log of the call


def test_a_broken_default_config_gives_one_line(workflow, root, tmp_path_factory):
    """We read the default config before Snakemake does."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copy(root / "Snakefile", checkout)
    shutil.copytree(root / "workflow", checkout / "workflow")
    (checkout / "config").mkdir()
    (checkout / "config/config.yaml").write_text("sweeps: [{name: a")
    workflow.config_file.unlink()
    workflow.root = checkout
    (complaint,) = complaints(workflow)
    assert complaint.startswith("config error: ")
    assert "config.yaml, line 2: not valid YAML" in complaint, "the end of the file"
