"""What is generated or stated twice does not drift."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
import sys
import textwrap
import tomllib
import types
from pathlib import Path
from typing import Annotated

import duckdb
import jsonschema
import polars as pl
import pytest
import torch
import yaml

from reversal_curse import families
from reversal_curse.config.errors import UserError
from reversal_curse.config.figures import PAPER_FIGURES
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps
from reversal_curse.config.plots import Plot
from reversal_curse.config.settings import DEFAULTS, FRACTION, NAMES, About, Settings
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.tables.aggregate import aggregate
from reversal_curse.tables.schemas import SHARED, TABLES
from reversal_curse.tables.table import read_tables
from reversal_curse.tasks import TASKS
from reversal_curse.tasks.masking_arms import MASKINGS, MaskingArm
from reversal_curse.training import masked_diffusion
from reversal_curse.training.loop import train

from .synthetic import write_runs

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)
SCHEMA, generated_blocks, with_blocks = (
    generate.SCHEMA,
    generate.generated_blocks,
    generate.with_blocks,
)


def test_the_schema_file_is_that_of_the_typed_config(root):
    assert (root / SCHEMA).read_text() == generate.config_schema(), "run `make docs`"


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
        {"sweeps": {}},
        {"sweeps": {"A": {}}},
        {"sweeps": {"a": {"layer": 1}}},
        {"sweeps": {"a": {"layers": 0}}},
        {"sweeps": {"a": {"layers": []}}},
        {"sweeps": {"a": {"family": "lstm"}}},
        {"sweeps": {"a": {"learning_rate": {"logarithmic": [1, 2, 3]}}}},
        {"sweeps": {"a": None}, "defaults": {"dropout": 1}},
        {"sweeps": {"a": {}}, "figures": {"pie": {"plot": "pie", "sweep": "a"}}},
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
    assert spelt == {name: DEFAULTS[name] for name in spelt}


def two_seeds(point: dict) -> pl.DataFrame:
    """Losses that are learned after 10 epochs, and then differ by dropout."""
    losses = {0: (3.0, 3.0), 10: (0.05, 6.0), 20: (0.01 + point["dropout"], 7.0)}
    rows = [
        {"seed": seed, "epoch": epoch, "split": split, "nll_token": loss, "nll_word": loss}
        | {"accuracy": 0.25, "chance_vocab": 3.0, "chance_class": 2.0}
        for seed in (0, 1)
        for epoch, pair in losses.items()
        for split, loss in zip(("train", "unseen"), pair, strict=True)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("page", "sizes"), [("README.md", [6]), ("config/README.md", [6, 2])])
def test_the_example_config_of_a_readme_is_a_config(root, tmp_path, page, sizes):
    text = (root / page).read_text()
    example = next(e for e in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "sweeps" in e)
    (tmp_path / "my.yaml").write_text(example)
    sweeps = read_sweeps(Config.load(tmp_path / "my.yaml"))
    assert [len(sweep.points) for sweep in sweeps.values()] == sizes


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_both_configs_draw_every_figure_of_the_papers(root, name):
    assert set(Config.load(root / "config" / name).figures) == set(PAPER_FIGURES)


def test_the_queries_of_the_results_readme_tell_their_rows_apart(
    root, tmp_path, monkeypatch, capsys
):
    """On the tables of two grid points, as a reader would paste them."""
    raw = {"defaults": {"epochs": 20}, "sweeps": {"a": {"dropout": [0.0, 0.1]}}}
    config = Config.parse(raw).executed(False)
    monkeypatch.chdir(tmp_path)
    points = read_sweeps(config)["a"].points
    write_runs(config, Path("results"), two_seeds)
    folder = Path("results")
    aggregate(config, folder, folder / "metrics.parquet", folder / "points.parquet")
    text = (root / "results/README.md").read_text()
    python = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (sql,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    exec(python[0], {"__name__": "query"})
    shown = capsys.readouterr().out
    assert "shape: (2, 4)" in shown
    assert "dropout" in shown
    answer = duckdb.sql(sql).pl()
    assert answer["run"].to_list() == sorted(points)
    assert answer["epoch"].to_list() == [10.0, 10.0]
    exec(python[1], {})
    assert capsys.readouterr().out.count("0.25") == 4  # two grid points, two seeds


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_of_every_table_is_documented(root, table):
    text = (root / "results/README.md").read_text()
    section = text.split(f"<!-- begin table {table.name} -->")[1].split("<!-- end")[0]
    shared = set(described(text.split("<!-- begin shared -->")[1].split("<!-- end")[0]))
    own = set(described(section))
    named = own | (shared & set(re.findall(r"`(\w+)`", section)))
    if table.name == "points":
        named |= {"run", *described((root / "config/README.md").read_text())}
        for measure in [name.removeprefix("SPLIT_") for name in own if name.startswith("SPLIT_")]:
            named |= {f"{s}_{measure}{end}" for s in ("train", "unseen") for end in ("", "_sd")}
    assert set(table.schema) <= named


def described(text: str) -> list[str]:
    """The first cells of tables in Markdown."""
    return re.findall(r"^\| `(\w+)`", text, re.MULTILINE)


@pytest.mark.slow
def test_a_block_without_its_markers_is_refused_and_nothing_is_written(root, tmp_path):
    for path in (*generated_blocks(), SCHEMA):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((root / path).read_text())
    target = tmp_path / "results/README.md"
    target.write_text(target.read_text().replace("begin table metrics", "begin table of metrics"))
    (tmp_path / SCHEMA).write_text("old")
    with pytest.raises(UserError) as caught:
        generate.write_docs(tmp_path)
    assert str(caught.value).startswith(f"{target}: no place for the block table metrics; write")
    assert (tmp_path / SCHEMA).read_text() == "old"


def test_a_block_is_written_between_two_lines_that_stand_together():
    text = "a\n<!-- begin x -->\n<!-- end x -->\nb\n"
    filled = "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n"
    assert with_blocks(text, {"x": "new"}) == filled
    assert with_blocks(filled, {"x": "new"}) == filled


def pages(root) -> list[Path]:
    written = [*root.glob("*.md"), *root.glob("docs/*.md")]
    return [*written, root / "config/README.md", root / "results/README.md"]


def test_every_link_of_the_documents_leads_somewhere(root):
    lost = []
    for page in pages(root):
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if link.startswith("http"):
                continue
            titles = re.findall(r"^#+ (.*)", target.read_text(), re.M) if anchor else []
            slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            if not target.exists() or (anchor and anchor not in slugs):
                lost.append(f"{page.relative_to(root)}: {link}")
    assert not lost


def test_rooms_import_only_those_above_them_in_the_list_of_the_architecture(root):
    package = root / "src/reversal_curse"
    section = (root / "docs/architecture.md").read_text().split("## Rooms\n")[1].split("\n## ")[0]
    order = re.findall(r"^    ([a-z_]+)(?:/|\.py) ", section, re.MULTILINE)
    there = {path.stem for path in package.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert set(order) == {name for name in there if not name.startswith("__")}
    for file in package.rglob("*.py"):
        room = file.relative_to(package).parts[0].removesuffix(".py")
        if room in order:
            found = re.findall(r"^\s*from reversal_curse\.(\w+)", file.read_text(), re.MULTILINE)
            above = {*order[: order.index(room) + 1]}
            assert set(found) <= above, file


def recipe(root, heading: str, number: int = 0) -> str:
    section = (root / "docs/extending.md").read_text().split(f"## {heading}\n")[1].split("\n##")[0]
    return re.findall(r"```(?:python)?\n(.*?)```", section, re.DOTALL)[number]


def test_the_family_of_the_recipe_trains(root, monkeypatch, make_dataset, small_settings):
    module = types.ModuleType("reversal_curse.training.guess")
    exec(recipe(root, "Adding a family"), module.__dict__)
    monkeypatch.setitem(sys.modules, "reversal_curse.training.guess", module)
    scope = {"FAMILIES": {}, "TASKS": TASKS, "Family": families.Family, "Work": families.Work}
    exec(recipe(root, "Adding a family", 1), scope)
    monkeypatch.setitem(families.FAMILIES, "guess", scope["FAMILIES"]["guess"])
    settings = small_settings(epochs=2, eval_every=1).model_copy(update={"family": "guess"})
    tables = train(settings, make_dataset(settings), torch.device("cpu"))
    assert tables["metrics"].height == settings.seeds * 2 * 3
    assert tables["metrics"]["nll_token"].unique().to_list() == pytest.approx([math.log(22)])


def test_the_objective_of_the_recipe_is_learned(root, monkeypatch, make_dataset, small_settings):
    module = types.ModuleType("reversal_curse.training.brier")
    exec(recipe(root, "Adding a training objective"), module.__dict__)
    monkeypatch.setitem(sys.modules, "reversal_curse.training.brier", module)
    scope = {"FAMILIES": dict(families.FAMILIES), "replace": dataclasses.replace}
    exec(recipe(root, "Adding a training objective", 1), scope)
    monkeypatch.setitem(families.FAMILIES, "brier", scope["FAMILIES"]["brier"])
    settings = small_settings(epochs=40, learning_rate=0.01)
    settings = settings.model_copy(update={"family": "brier"})
    tables = train(settings, make_dataset(settings), torch.device("cpu"))
    losses = tables["metrics"].filter(pl.col("split") == "train").sort("epoch")["nll_token"]
    assert losses.tail(3).max() < losses.head(3).min() / 2
    assert tables["gradients"].height


def test_the_task_of_the_recipe_can_be_learned(root, monkeypatch, make_dataset, small_settings):
    module = types.ModuleType("reversal_curse.tasks.copying")
    exec(recipe(root, "Adding a task"), module.__dict__)
    monkeypatch.setitem(sys.modules, "reversal_curse.tasks.copying", module)
    monkeypatch.setitem(TASKS, "copying", module.TASK)
    for family in ("gpt", "masked_diffusion"):
        settings = small_settings().model_copy(update={"task": "copying", "family": family})
        metrics = train(settings, make_dataset(settings), torch.device("cpu"))["metrics"]
        assert metrics["nll_token"].is_finite().all()


def test_the_probe_of_the_recipe_measures(root, monkeypatch, make_dataset, small_settings):
    module = types.ModuleType("reversal_curse.probes.head_norm")
    exec(recipe(root, "Adding a probe"), module.__dict__)
    monkeypatch.setitem(sys.modules, "reversal_curse.probes.head_norm", module)
    for name, table in read_tables(SHARED, recipe(root, "Adding a probe", 1)).items():
        monkeypatch.setitem(TABLES, name, table)
    gpt = families.FAMILIES["gpt"]
    measured = dataclasses.replace(gpt, probes=(*gpt.probes, "head_norm"))
    monkeypatch.setitem(families.FAMILIES, "gpt", measured)
    settings = small_settings()
    table = train(settings, make_dataset(settings), torch.device("cpu"))["head_norm"]
    assert table.group_by("seed").len()["len"].to_list() == [7] * 3
    assert table["norm"].min() > 0


def test_the_masking_arm_of_the_recipe_masks(root):
    scope = {"MaskingArm": MaskingArm, "MASKINGS": MASKINGS}
    exec(recipe(root, "Adding a masking arm"), scope)
    try:
        sentences = torch.zeros(1, 4, 5, dtype=torch.long)
        masking = masked_diffusion.Masking("not_subject", 1, seed_generators([0], "masking"))
        masked, *_ = masking(sentences)
    finally:
        del MASKINGS["not_subject"]
    assert masked[0, 0].tolist() == [False, True, True, True, True]


def test_the_setting_of_the_recipe_is_a_field(root):
    scope: dict = {"Annotated": Annotated, "FRACTION": FRACTION, "About": About}
    exec(textwrap.dedent(recipe(root, "Adding a setting")), scope)
    assert list(scope["__annotations__"]) == ["label_smoothing"]


def test_the_plot_of_the_recipe_draws_and_has_a_caption(root, tmp_path, monkeypatch):
    source = recipe(root, "Adding a plot")
    scope: dict = {}
    exec(source, scope)
    rows = [
        {**Settings().described(), "run": "a", "label": "", "seed": 0, "epoch": epoch}
        | {"split": split, "accuracy": 0.5}
        for epoch in (0, 5)
        for split in ("train", "unseen")
    ]
    figure = scope["draw"]({"metrics": pl.DataFrame(rows, infer_schema_length=None)})
    assert len(figure.axes[0].lines) == 1
    (tmp_path / "final_accuracy.py").write_text(source)
    monkeypatch.setattr(Plot, "path", tmp_path / "final_accuracy.py")
    assert Plot("final_accuracy").caption() == "Accuracy after the last epoch, of both splits."


def test_the_notebook_example_of_the_readme_names_settings(root):
    call = re.search(r"rc\.train\((.*?)\)", (root / "README.md").read_text()).group(1)
    assert {part.split("=")[0].strip() for part in call.split(",")} < set(NAMES)


def test_the_lock_has_every_direct_dependency_at_one_version(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())
    optional = project["project"]["optional-dependencies"]
    wanted = project["project"]["dependencies"] + optional["test"] + optional["pretrained"]
    lines = (root / "requirements.lock").read_text().lower().splitlines()
    pinned = [line.partition("==")[0] for line in lines if not line.startswith("#")]
    assert set(wanted) <= set(pinned)
    assert set(project["build-system"]["requires"]) <= set(lines)


@pytest.mark.parametrize("name", ["reversal_curse", "pretrained"])
def test_the_conda_environment_has_the_pins_of_the_lock(root, name):
    text = (root / f"workflow/envs/{name}.yaml").read_text()
    assert generate.with_pins(text, root) == text, "run `make docs`"
