"""Text that is generated or stated twice must not drift."""

import dataclasses
import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import polars as pl
import pytest
import torch
import yaml

from reversal_curse import families
from reversal_curse.claims import reversal
from reversal_curse.claims.claim import select
from reversal_curse.claims.ledger import PAPERS, write_ledger
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import own_folder, read_sweeps
from reversal_curse.config.settings import DEFAULTS, NAMES, Settings
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.tables.aggregate import aggregate
from reversal_curse.tables.files import read_table, write_table
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import SHARED, TABLES
from reversal_curse.tables.table import read_tables
from reversal_curse.tasks import TASKS, masking_arms
from reversal_curse.training import masked_diffusion
from small_runs import small_settings, trained

from .synthetic import CHOICE, write_runs

ROOT = Path(__file__).parents[2]


def script(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate, results = script("generate"), script("results")


@pytest.fixture
def copy(tmp_path) -> Path:
    """Copies of the files that `make docs` reads and writes."""
    for name in ("workflow", "config", "results/README.md", "requirements.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy_one = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy_one(ROOT / name, tmp_path / name)
    return tmp_path


def test_generated_files_are_up_to_date(copy):
    for path in generate.write_docs(copy):
        assert path.read_text() == (ROOT / path.relative_to(copy)).read_text(), "run `make docs`"


def test_a_block_without_its_markers_is_refused_and_nothing_is_written(copy):
    target = copy / "results/README.md"
    target.write_text(target.read_text().replace("begin table metrics", "begin table of metrics"))
    (copy / generate.SCHEMA).write_text("old")
    with pytest.raises(UserError) as caught:
        generate.write_docs(copy)
    assert str(caught.value).startswith(f"{target}: no place for the block table metrics; write")
    assert (copy / generate.SCHEMA).read_text() == "old"


def test_a_block_is_written_between_two_adjacent_lines():
    text = "a\n<!-- begin x -->\n<!-- end x -->\nb\n"
    filled = "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n"
    assert generate.with_blocks(text, {"x": "new"}) == filled
    assert generate.with_blocks(filled, {"x": "new"}) == filled


@pytest.fixture(scope="module")
def schema() -> dict:
    return yaml.safe_load((ROOT / generate.SCHEMA).read_text())


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_schema_accepts_the_configs_that_come_with_the_project(schema, name):
    jsonschema.validate(yaml.safe_load((ROOT / "config" / name).read_text()), schema)


REFUSED = """\
{}
{sweeps: {}}
{sweeps: {A: {}}}
{sweeps: {a: {layer: 1}}}
{sweeps: {a: {layers: 0}}}
{sweeps: {a: {layers: []}}}
{sweeps: {a: {family: lstm}}}
{sweeps: {a: {learning_rate: {logarithmic: [1, 2, 3]}}}}
{sweeps: {a: null}, defaults: {dropout: 1}}
{sweeps: {a: {}}, figures: {pie: {plot: pie, sweep: a}}}
"""


@pytest.mark.parametrize("config", REFUSED.splitlines())
def test_the_schema_refuses_what_the_typed_config_refuses(schema, config):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(config), schema)


def test_built_in_defaults_are_the_papers():
    """`config/paper.yaml` spells out the built-in settings for its readers."""
    spelt = yaml.safe_load((ROOT / "config/paper.yaml").read_text())["defaults"]
    assert spelt == {name: DEFAULTS[name] for name in spelt}


@pytest.mark.parametrize(("page", "sizes"), [("README.md", [6]), ("config/README.md", [6, 2])])
def test_the_example_config_in_a_readme_is_valid(tmp_path, page, sizes):
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (tmp_path / "my.yaml").write_text(next(text for text in examples if "sweeps" in text))
    sweeps = read_sweeps(Config.load(tmp_path / "my.yaml"))
    assert [len(sweep.points) for sweep in sweeps.values()] == sizes


def two_seeds(point: dict) -> pl.DataFrame:
    """Make losses that are small after 10 epochs, and then differ by dropout."""
    splits = {"train": (3.0, 0.05, 0.01 + point["dropout"]), "unseen": (3.0, 6.0, 7.0)}
    rows = [
        {"seed": seed, "epoch": epoch, "split": split, "nll_token": loss, "nll_word": loss}
        | {"accuracy": 0.25, "chance_vocab": 3.0, "chance_class": 2.0}
        | CHOICE
        for seed in (0, 1)
        for split, losses in splits.items()
        for epoch, loss in zip((0, 10, 20), losses, strict=True)
    ]
    return pl.DataFrame(rows)


def test_the_queries_of_the_results_readme_tell_their_rows_apart(tmp_path, monkeypatch, capsys):
    """Paste them as a reader would, and run them on the tables of two grid points."""
    raw = {"defaults": {"epochs": 20}, "sweeps": {"a": {"dropout": [0.0, 0.1]}}}
    config = Config.parse(raw).executed(False)
    monkeypatch.chdir(tmp_path)
    results = Path("results")
    write_runs(config, results, two_seeds)
    aggregate(config, Runs(results), results / "metrics.parquet", results / "points.parquet")
    text = (ROOT / "results/README.md").read_text()
    summary, accuracies = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (sql,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    exec(summary, {"__name__": "query"})
    shown = capsys.readouterr().out
    assert "shape: (2, 4)" in shown
    assert "dropout" in shown
    answer = duckdb.sql(sql).pl()
    assert answer["run"].to_list() == sorted(read_sweeps(config)["a"].points)
    assert answer["epoch"].to_list() == [10.0, 10.0]
    exec(accuracies, {})
    assert capsys.readouterr().out.count("0.25") == 4  # two grid points, two seeds


def write_run(root: Path, name: str, unseen: Any, vocab_size: int = 80, **raw: Any) -> None:
    """Write a config, and the tables and figure of its run with this loss of unseen sentences.

    The loss may be a function of the grid point; `raw` are other keys of the config.
    """
    raw["defaults"] = {"vocab_size": vocab_size, "epochs": 10, "seeds": 5}
    raw |= {} if name == "default" else {"name": name}
    raw.setdefault("sweeps", {"chain": {"task": "chain"}, "heads": {"tie_head": [False, True]}})
    raw.setdefault("figures", {"reversal_curve": "chain"})
    path, folder = root / {**results.CONFIGS, **results.BENCH}[name], root / "results"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(raw))
    config = Config.load(path)

    def five_seeds(point: dict) -> pl.DataFrame:
        least = unseen(point) if callable(unseen) else unseen
        rows = [
            {"seed": seed, "epoch": 10, "split": split, "nll_token": loss, "nll_word": loss}
            | {"accuracy": math.exp(-loss), "chance_vocab": 4.0, "chance_class": 3.0}
            | CHOICE
            | {"rank_choice": 0.3 + 0.1 * seed}
            for seed in range(5)
            for split in TASKS[point["task"]].splits
            for loss in [0.001 if split == "train" else least + 0.1 * seed]
        ]
        return pl.DataFrame(rows)

    write_runs(config, folder, five_seeds)
    tables = own_folder(config, folder)
    (tables / "figures").mkdir(parents=True)
    (tables / "figures/reversal_curve.png").write_text(name)
    aggregate(config, Runs(folder), tables / "metrics.parquet", tables / "points.parquet")
    write_ledger(config, Runs(folder), [], tables / "claims.md", tables / "claims.parquet")


@pytest.fixture
def default_run(tmp_path) -> Path:
    """A folder with a small default run and the template, which has one picture."""
    write_run(tmp_path, "default", unseen=7.0, vocab_size=80)
    text = re.sub(r"\{figure.*", "", (ROOT / results.TEMPLATE).read_text())
    (tmp_path / "docs").mkdir()
    (tmp_path / results.TEMPLATE).write_text(text + "{figure[reversal_curve]}")
    return tmp_path


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_page_of_results_says_what_a_run_found_and_what_it_did_not_test(default_run):
    page = results.write_page(default_run).read_text()
    assert "| medium | `config/medium.yaml` | not run |" in page
    assert "3 grid points; seeds 5; vocab_size 80;" in page
    curse = "✓ **supported**: 4.2 [4, 4.4], n = 5, [reversal_curve](reversal_curve.png)"
    assert section(page, "In short").count(curse) == 1
    assert "`chain_not_inferred` *P1, figure 3" in section(page, "What holds of the papers")
    assert "Why it is a check: a held-out pair has one sentence" in section(page, "Checks")
    unknown = "? **inconclusive**: 0.5 [0.304, 0.696], n = 5, [reversal_curve](reversal_curve.png)"
    assert f"{unknown}, needs about 78 seeds" in section(page, "What is open")
    assert "– **not tested**: not in this config: no grid point has task in_context" in page
    assert "`tied_head_known`" in section(page, "What is new")
    known = section(page, "Said and known")
    assert "| untied head | 0.999 ± 0 | 0.000" in known
    assert "default: not tested (not in this config: no grid point has task facts" in known
    assert (default_run / "docs/reversal_curve.png").read_text() == "default"


def test_remedies_are_ranked_by_what_they_make_a_model_say(default_run):
    points = [{"label": "none"}, {"label": "turned", "reversal": "entity"}]
    points.append({"label": "right", "bridge": "full", "alignment": "right"})
    points.append({"label": "bridge", "bridge": "full"})
    sweep = {"task": "inverse", "pos_encoding": ["none", "absolute"], "points": points}
    write_run(
        default_run,
        "bench",
        lambda point: 0.1 if point["bridge"] == "full" else 7.0,
        sweeps={"arms": sweep},
        figures={"mitigation_bench": "arms"},
    )
    page = results.write_page(default_run).read_text()
    rows = section(page, "Which remedy should I try first?").splitlines()
    rows = [row.split(" | ") for row in rows if re.match(r"\| (bridge|right|turned|none) ", row)]
    right, bridge, *others = rows
    assert right[:4] == ["| right", "data", "0.75 ± 0.15", "0.75 / –"]
    assert bridge[:4] == ["| bridge", "data", "0.75 ± 0.15", "0.75 / 0.75"]
    assert bridge[-2:] == ["2.2", "20 |"]  # 110 sentences for 50, in two batches, ten times
    assert [row[0] for row in others] == ["| turned", "| none"]


def test_a_claim_that_the_larger_run_contradicts_does_not_hold(default_run):
    write_run(default_run, "medium", unseen=0.5, vocab_size=200)
    page = results.write_page(default_run).read_text()
    rows = section(page, "What does not hold").splitlines()
    (row,) = [row for row in rows if "`chain_not_inferred`" in row]
    assert [cell.split("**")[1] for cell in row.split(" | ")[1:]] == ["supported", "contradicted"]
    assert "[reversal_curve](medium_reversal_curve.png)" in row
    assert (default_run / "docs/medium_reversal_curve.png").read_text() == "medium"


@pytest.mark.parametrize("word", ["{reversal_cures}", "{points[blocks]}", "{figure[tied_head]}"])
def test_a_placeholder_that_names_nothing_is_refused_and_nothing_is_written(default_run, word):
    (default_run / results.TEMPLATE).write_text(word)
    with pytest.raises(UserError, match="must be a claim, figure or block"):
        results.write_page(default_run)
    assert not (default_run / results.PAGE).exists()


def test_a_table_of_other_claims_is_refused(default_run):
    path = default_run / "results/claims.parquet"
    others = read_table(path, "claims").filter(pl.col("id") != "reversal_curse")
    write_table(path, others, TABLES["claims"])
    with pytest.raises(UserError, match="differs in reversal_curse; judge them again"):
        results.write_page(default_run)


def test_the_pictures_of_the_results_are_figures_of_the_default_config():
    shown = re.findall(r"\{figure\[(\w+)\]\}", (ROOT / results.TEMPLATE).read_text())
    assert {*shown} <= Config.load(ROOT / "config/config.yaml").drawings().keys()


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_of_every_table_is_documented(table):
    text = (ROOT / "results/README.md").read_text() + (ROOT / "config/README.md").read_text()
    for column in table.columns:
        meaning = column.description.partition(": ")[2] or column.description
        assert meaning in text or column.name == "run"


def test_every_link_of_the_documents_leads_somewhere():
    lost, folders = [], (".", "docs", "config", "results")
    for page in [page for folder in folders for page in (ROOT / folder).glob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if link.startswith("http"):
                continue
            titles = re.findall(r"^#+ (.*)", target.read_text(), re.M) if anchor else []
            slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            if not target.exists() or (anchor and anchor not in slugs):
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert not lost


def test_rooms_import_only_those_above_them_in_the_list_of_the_architecture():
    package = ROOT / "src/reversal_curse"
    section = (ROOT / "docs/architecture.md").read_text().split("## Rooms\n")[1].split("\n## ")[0]
    order = re.findall(r"^    ([a-z_]+)(?:/|\.py) ", section, re.MULTILINE)
    there = {path.stem for path in package.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert set(order) == {name for name in there if not name.startswith("__")}
    for file in package.rglob("*.py"):
        room = file.relative_to(package).parts[0].removesuffix(".py")
        if room in order:
            found = re.findall(r"^\s*from reversal_curse\.(\w+)", file.read_text(), re.MULTILINE)
            above = {*order[: order.index(room) + 1]}
            assert set(found) <= above, file


def recipe(heading: str, number: int = 0) -> str:
    section = (ROOT / "docs/extending.md").read_text().split(f"## {heading}\n")[1].split("\n##")[0]
    return re.findall(r"```(?:python)?\n(.*?)```", section, re.DOTALL)[number]


def entry(heading: str, known: dict, name: str, number: int = 1) -> dict:
    """Run the code of a recipe that adds to a dictionary; return a copy with the addition."""
    scope = {**known, name: dict(known[name])}
    exec(recipe(heading, number), scope)
    return scope[name]


@pytest.fixture
def install(monkeypatch):
    """Make a module from a recipe's first code block, importable while a test runs."""

    def make(heading: str, name: str) -> types.ModuleType:
        module = types.ModuleType(f"reversal_curse.{name}")
        exec(recipe(heading), module.__dict__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return module

    return make


def train_as(monkeypatch, family: families.Family, **given) -> dict[str, pl.DataFrame]:
    """Train gpt's settings as another family."""
    monkeypatch.setitem(families.FAMILIES, "other", family)
    return trained(small_settings(**given).model_copy(update={"family": "other"}))


def test_the_family_of_the_recipe_trains(install, monkeypatch):
    install("Adding a family", "training.guess")
    guess = entry("Adding a family", vars(families), "FAMILIES")["guess"]
    metrics = train_as(monkeypatch, guess, epochs=2, eval_every=1)["metrics"]
    assert metrics.height == 3 * 2 * 3
    assert metrics["nll_token"].unique().to_list() == pytest.approx([math.log(22)])


def test_the_objective_of_the_recipe_is_learned(install, monkeypatch):
    install("Adding a training objective", "training.brier")
    known = {**vars(families), "replace": dataclasses.replace}
    brier = entry("Adding a training objective", known, "FAMILIES")["brier"]
    tables = train_as(monkeypatch, brier, epochs=40, learning_rate=0.01)
    losses = tables["metrics"].filter(split="train").sort("epoch")["nll_token"]
    assert losses.tail(3).max() < losses.head(3).min() / 2
    assert tables["gradients"].height


def test_the_task_of_the_recipe_can_be_learned(install, monkeypatch):
    monkeypatch.setitem(TASKS, "copying", install("Adding a task", "tasks.copying").TASK)
    for family in ("gpt", "masked_diffusion"):
        settings = small_settings().model_copy(update={"task": "copying", "family": family})
        assert trained(settings)["metrics"]["nll_token"].is_finite().all()


def test_the_probe_of_the_recipe_measures(install, monkeypatch):
    install("Adding a probe", "probes.head_norm")
    table = read_tables(SHARED, recipe("Adding a probe", 1))["head_norm"]
    monkeypatch.setitem(TABLES, "head_norm", table)
    gpt = families.FAMILIES["gpt"]
    measured = dataclasses.replace(gpt, probes=(*gpt.probes, "head_norm"))
    table = train_as(monkeypatch, measured)["head_norm"]
    assert table.group_by("seed").len()["len"].to_list() == [7] * 3
    assert table["norm"].min() > 0


def test_the_masking_arm_of_the_recipe_masks(monkeypatch):
    arms = entry("Adding a masking arm", vars(masking_arms), "MASKINGS", 0)
    monkeypatch.setitem(masking_arms.MASKINGS, "not_subject", arms["not_subject"])
    settings = small_settings(family="masked_diffusion").model_copy(
        update={"masking": "not_subject"}
    )
    masking = masked_diffusion.Masking(settings, seed_generators([0], "masking"))
    masked, *_ = masking(torch.zeros(1, 4, 5, dtype=torch.long))
    assert masked[0, 0].tolist() == [False, True, True, True, True]


def test_the_claim_of_the_recipe_is_about_a_sweep_over_tied_heads():
    claim = entry("Adding a claim", vars(reversal), "CLAIMS", 0)["tied_heads_cursed"]
    sweeps = read_sweeps(Config.parse({"sweeps": {"a": {"tie_head": [False, True]}}}))
    assert len(select(claim, sweeps).points) == 2
    assert claim.paper in PAPERS


SWEEP_THE_NEW_SETTING = """
from reversal_curse.config.file import Config
from reversal_curse.config.grid import own_folder, read_sweeps
from reversal_curse.tables.files import settings_frame

block = {"label_smoothing": {"log": [0.01, 0.1, 2]}, "family": ["gpt", "bilinear"]}
sweep = read_sweeps(Config.parse({"sweeps": {"a": block}}))["a"]
print([run.split("settings=")[1] for run in sweep.points])
print([*sweep.labels.values()])
print(settings_frame(sweep.points, sweep.labels)["label_smoothing"])
read_sweeps(Config.parse({"sweeps": {"a": {"family": "bilinear", "label_smoothing": 0.1}}}))
"""


@pytest.mark.slow
def test_the_setting_of_the_recipe_can_be_swept_and_moves_no_existing_run(tmp_path):
    """Add the field to a copy of the package."""
    shutil.copytree(ROOT / "src/reversal_curse", tmp_path / "reversal_curse")
    path = tmp_path / "reversal_curse/config/settings.py"
    before, marker, after = path.read_text().partition("    precision: Annotated[")
    path.write_text(before + recipe("Adding a setting") + marker + after)
    done = subprocess.run(
        [sys.executable, "-c", SWEEP_THE_NEW_SETTING],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    runs, labels, *column = done.stdout.splitlines()
    assert runs == "['label_smoothing-0.01', 'label_smoothing-0.1', 'default']"
    assert labels.count("autoregressive, label smoothing") == 2
    assert [line.strip() for line in column[2:]] == ["[", "0.01", "0.1", "null", "]"]
    assert "sweeps.a.label_smoothing: 0.1 changes nothing" in done.stderr.splitlines()[-1]


def test_the_plot_of_the_recipe_draws():
    scope: dict = {}
    exec(recipe("Adding a plot"), scope)
    rows = [
        {**Settings().described(), "run": "a", "label": "", "seed": 0, "epoch": epoch}
        | {"split": split, "accuracy": 0.5}
        for epoch in (0, 5)
        for split in ("train", "unseen")
    ]
    figure = scope["draw"]({"metrics": pl.DataFrame(rows, infer_schema_length=None)})
    assert len(figure.axes[0].lines) == 1


def test_the_notebook_example_of_the_readme_names_settings():
    call = re.search(r"rc\.train\((.*?)\)", (ROOT / "README.md").read_text()).group(1)
    assert {part.split("=")[0].strip() for part in call.split(",")} < set(NAMES)


def test_every_package_that_the_project_names_has_one_locked_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [project["dependencies"], *project["optional-dependencies"].values()]
    locked = re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert set().union(*named) <= {name.lower() for name in locked}
    assert len(locked) == len(set(locked))
