"""A mistake in a config stops Snakemake with one line and writes nothing.

`tests/unit/test_config.py` holds the table of all mistakes; here a few of each kind go
through Snakemake itself.
"""

from __future__ import annotations

import shutil

import pytest

MISTAKES = {
    "unknown key": ({"sweep": []}, "config error: sweep: unknown key; allowed: defaults,"),
    "negative size": (
        {"sweeps": [{"name": "a", "layers": -1}]},
        "config error: sweeps[0].layers: -1 is refused; allowed: at least 1",
    ),
    "heads": (
        {"sweeps": [{"name": "a", "heads": 5}]},
        "config error: sweeps[0] (a): heads 5 with embed_dim 768; allowed: heads that divide",
    ),
    "hostile name": (
        {"sweeps": [{"name": "$(touch owned)"}]},
        'config error: sweeps[0].name: "$(touch owned)" is refused; allowed: a name of',
    ),
    "duplicate sweep": (
        {"sweeps": [{"name": "a"}, {"name": "a"}]},
        'config error: sweeps[1].name: "a" is used twice; allowed: a name of its own',
    ),
    "duplicate key": (
        "sweeps: [{name: a}]\nsweeps: [{name: b}]\n",
        "config error: ",
    ),
    "figure without its table": (
        {"sweeps": [{"name": "a"}], "figures": {"bilinear_separation": "a"}},
        "config error: figures.bilinear_separation: sweep a has no separation; allowed: a sweep",
    ),
}


def written(workflow) -> set[str]:
    """What stands in the working directory, without Snakemake's own log of the call."""
    return {path.name for path in workflow.directory.iterdir()} - {".snakemake"}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(workflow, case):
    config, message = MISTAKES[case]
    workflow.write_config(config)
    output = workflow.snakemake(status=1)
    complaints = [line for line in output.splitlines() if not line.startswith("Using workflow")]
    assert len(complaints) == 1, output
    assert complaints[0].startswith(message)
    assert written(workflow) == {"config.yaml"}


@pytest.mark.parametrize("content", ["sweeps: [{name: a", "hello", ""])
def test_a_file_that_is_no_yaml_is_refused_by_snakemake_before_us(workflow, content):
    """Snakemake reads a --configfile before any of our code; its message has two lines."""
    workflow.write_config(content)
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
    workflow.root, workflow.snakefile = checkout, checkout / "Snakefile"
    output = workflow.snakemake(status=1)
    assert output.startswith("config error: ")
    assert "config.yaml, line 1: no YAML" in output
    assert output.count("\n") == 1
