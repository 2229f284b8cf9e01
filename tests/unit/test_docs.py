"""What is generated or stated twice does not drift."""

from __future__ import annotations

import math
import re
import sys
import tomllib
import types

import duckdb
import jsonschema
import polars as pl
import pytest
import torch
import yaml

from reversal_curse import registry, schema
from reversal_curse.cli import main
from reversal_curse.config import Config
from reversal_curse.docs import SCHEMA, config_schema, generated_blocks, with_blocks
from reversal_curse.randomness import seed_generators
from reversal_curse.registry import ALL_FIGURES, FIGURES, TASKS
from reversal_curse.settings import AXES, Settings
from reversal_curse.sweep import grid_points
from reversal_curse.tables import TABLES, write_table
from reversal_curse.training import masked_diffusion
from reversal_curse.training.loop import train


def test_the_schema_file_is_that_of_the_typed_config(root):
    assert (root / SCHEMA).read_text() == config_schema(), "run `make docs`"


@pytest.mark.parametrize("path", generated_blocks(), ids=str)
def test_the_tables_of_the_readmes_are_those_of_the_code(root, path):
    text = (root / path).read_text()
    assert with_blocks(text, generated_blocks()[path]) == text, "run `make docs`"


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_schema_accepts_the_configs_that_come_with_the_project(root, name):
    jsonschema.validate(yaml.safe_load((root / "config" / name).read_text()), _schema(root))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"sweeps": []},
        {"sweeps": [{"name": "A"}]},
        {"sweeps": [{"name": "a", "layer": 1}]},
        {"sweeps": [{"name": "a", "layers": 0}]},
        {"sweeps": [{"name": "a", "layers": []}]},
        {"sweeps": [{"name": "a", "family": "lstm"}]},
        {"sweeps": [{"name": "a"}], "defaults": {"dropout": 1}},
        {"sweeps": [{"name": "a"}], "figures": {"pie": "a"}},
    ],
)
def test_the_schema_refuses_what_the_typed_config_refuses(root, config):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, _schema(root))


def _schema(root):
    return yaml.safe_load((root / SCHEMA).read_text())


def test_built_in_defaults_are_the_papers(root):
    """`config/paper.yaml` spells settings out for its readers; they are the built-in ones."""
    spelt = yaml.safe_load((root / "config/paper.yaml").read_text())["defaults"]
    built_in = Settings().model_dump()
    assert spelt == {name: built_in[name] for name in spelt}


def test_the_example_of_the_config_readme_is_a_config(root):
    text = (root / "config/README.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL).group(1)
    assert len(grid_points(Config.parse(yaml.safe_load(example)))) == 6


def test_every_figure_has_its_caption_and_is_in_both_configs(root):
    for name in ALL_FIGURES:
        assert (root / f"workflow/report/{name}.rst").read_text().strip()
    for config in ("config.yaml", "paper.yaml"):
        assert set(Config.load(root / "config" / config).figures) == set(FIGURES)


def test_the_queries_of_the_results_readme_run(root, tmp_path, monkeypatch, capsys):
    """On the tables of two grid points, as a reader would paste them."""
    rows = [
        {"seed": seed, "epoch": epoch, "split": split, "nll_token": loss, "nll_word": loss}
        | {"accuracy": 0.25, "chance_vocab": 3.0, "chance_class": 2.0}
        for seed in (0, 1)
        for epoch, losses in ((0, (3.0, 3.0)), (10, (0.05, 6.0)), (20, (0.01, 7.0)))
        for split, loss in zip(("train", "unseen"), losses, strict=True)
    ]
    config = Config.parse({"sweeps": [{"name": "a", "entity_length": [1, 2]}]})
    monkeypatch.chdir(tmp_path)
    for number, directory in enumerate(grid_points(config)):
        frame = TABLES["metrics"].conform(pl.DataFrame(rows))
        frame = frame.with_columns(pl.col("nll_token") + 0.25 * number * (pl.col("epoch") == 20))
        write_table(f"results/runs/{directory}/metrics.parquet", frame, TABLES["metrics"])
    from pathlib import Path

    from reversal_curse.aggregate import aggregate

    aggregate(config, "metrics", Path("results/runs"), Path("results/metrics.parquet"))
    text = (root / "results/README.md").read_text()
    python = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    sql = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert (len(python), len(sql)) == (2, 1)
    exec(python[0], {"__name__": "query"})
    shown = capsys.readouterr().out
    assert "shape: (4, " in shown  # two grid points, two splits: nothing is averaged over points
    answer = duckdb.sql(sql[0]).pl()
    assert answer["entity_length"].to_list() == [1, 2]
    assert answer["epoch"].to_list() == [10.0, 10.0]
    exec(python[1], {})
    assert "0.25" in capsys.readouterr().out


def test_a_block_without_its_markers_is_refused_and_nothing_is_written(root, tmp_path, capsys):
    for path in (*generated_blocks(), SCHEMA):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((root / path).read_text())
    target = tmp_path / "results/README.md"
    target.write_text(target.read_text().replace("begin table metrics", "begin table of metrics"))
    (tmp_path / SCHEMA).write_text("old")
    assert main(["docs", "--root", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{target}: no place for the block table metrics; write two lines")
    assert error.count("\n") == 1
    assert (tmp_path / SCHEMA).read_text() == "old"


def test_a_block_is_written_between_two_lines_that_stand_together():
    text = "a\n<!-- begin x -->\n<!-- end x -->\nb\n"
    filled = "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n"
    assert with_blocks(text, {"x": "new"}) == filled
    assert with_blocks(filled, {"x": "new"}) == filled


def readme_example(root, heading: str, number: int = 0) -> str:
    section = (root / "README.md").read_text().split(f"### {heading}\n")[1].split("\n##")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[number]


def test_the_readmes_family_trains(root, monkeypatch, make_dataset, small_settings):
    module = types.ModuleType("reversal_curse.training.guess")
    exec(readme_example(root, "Adding a family"), module.__dict__)
    monkeypatch.setitem(sys.modules, "reversal_curse.training.guess", module)
    scope = {"Family": registry.Family, "FAMILIES": {}, "TASKS": TASKS}
    scope |= {"_ALWAYS": set(), "TASK_AXES": registry.TASK_AXES}
    exec(readme_example(root, "Adding a family", 1), scope)
    monkeypatch.setitem(registry.FAMILIES, "guess", scope["FAMILIES"]["guess"])
    settings = small_settings(epochs=2, eval_every=1).model_copy(update={"family": "guess"})
    tables = train(settings, make_dataset(settings), torch.device("cpu"))
    assert tables["metrics"].height == settings.seeds * 2 * 3
    assert tables["metrics"]["nll_token"].unique().to_list() == pytest.approx([math.log(22)])


def test_the_readmes_task_can_be_learned(root, monkeypatch, make_dataset, small_settings):
    module = types.ModuleType("reversal_curse.tasks.copying")
    exec(readme_example(root, "Adding a task"), module.__dict__)
    monkeypatch.setitem(sys.modules, "reversal_curse.tasks.copying", module)
    scope = {"Task": registry.Task, "TASKS": {}}
    exec(readme_example(root, "Adding a task", 1), scope)
    monkeypatch.setitem(TASKS, "copying", scope["TASKS"]["copying"])
    for family in ("gpt", "masked_diffusion"):
        settings = small_settings().model_copy(update={"task": "copying", "family": family})
        metrics = train(settings, make_dataset(settings), torch.device("cpu"))["metrics"]
        assert metrics["nll_token"].is_finite().all()


def test_the_readmes_probe_measures(root, monkeypatch, make_dataset, small_settings):
    module = types.ModuleType("reversal_curse.probes.head_norm")
    exec(readme_example(root, "Adding a probe"), module.__dict__)
    monkeypatch.setitem(sys.modules, "reversal_curse.probes.head_norm", module)
    scope = {"Probe": registry.Probe, "PROBES": {}, "pl": pl} | vars(schema)
    exec(readme_example(root, "Adding a probe", 1), scope)
    added = scope["PROBES"]["head_norm"]
    monkeypatch.setitem(registry.PROBES, "head_norm", added)
    monkeypatch.setitem(TABLES, "head_norm", added.table)
    assert "head_norm" in registry.run_tables("gpt")
    settings = small_settings()
    table = train(settings, make_dataset(settings), torch.device("cpu"))["head_norm"]
    assert table.group_by("seed").len()["len"].to_list() == [7] * 3
    assert table["norm"].min() > 0


def test_the_readmes_masking_arm_masks(root):
    scope = {"MaskingArm": registry.MaskingArm, "MASKINGS": registry.MASKINGS}
    exec(readme_example(root, "Adding a masking arm"), scope)
    try:
        sentences = torch.zeros(1, 4, 5, dtype=torch.long)
        masking = masked_diffusion.Masking("not_subject", 1, seed_generators([0], "masking"))
        masked, *_ = masking(sentences)
    finally:
        del registry.MASKINGS["not_subject"]
    assert masked[0, 0].tolist() == [False, True, True, True, True]


def test_the_readmes_figure_draws(root):
    scope: dict = {}
    exec(readme_example(root, "Adding a figure"), scope)
    point = {axis: getattr(Settings(), axis) for axis in AXES} | {"settings": "abc"}
    rows = [
        {**point, "seed": 0, "epoch": epoch, "split": split, "nll_token": 1.0, "nll_word": 1.0}
        | {"accuracy": 0.5, "chance_vocab": 3.0, "chance_class": 2.0}
        for epoch in (0, 5)
        for split in ("train", "unseen")
    ]
    figure = scope["draw"]({"metrics": pl.DataFrame(rows)})
    assert len(figure.axes[0].lines) == 1


def test_every_direct_dependency_is_pinned_in_the_lock_at_the_same_version(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())
    optional = project["project"]["optional-dependencies"]
    wanted = project["project"]["dependencies"] + optional["test"] + optional["pretrained"]
    lock = _pins((root / "requirements.lock").read_text())
    for requirement in [*wanted, *project["build-system"]["requires"]]:
        name, _, version = requirement.partition("==")
        assert lock[_normal(name)] == version, requirement


@pytest.mark.parametrize("name", ["reversal_curse", "pretrained"])
def test_the_conda_environment_has_the_same_pins(root, name):
    environment = yaml.safe_load((root / f"workflow/envs/{name}.yaml").read_text())
    lock = _pins((root / "requirements.lock").read_text())
    for requirement in environment["dependencies"][-1]["pip"]:
        name, _, version = requirement.partition("==")
        assert lock[_normal(name)] == version, requirement


def _pins(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in lines)
    return {_normal(line.partition("==")[0]): line.partition("==")[2] for line in lines}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
