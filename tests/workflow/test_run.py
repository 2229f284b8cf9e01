"""Run a tiny sweep: what the first call makes, and what a later one makes again."""

import json
import os
import shutil
from pathlib import Path

import polars as pl

from processes import kill, wait_for
from reversal_curse.config.file import Config
from reversal_curse.config.grid import dataset_directory, read_sweeps
from reversal_curse.config.plots import PLOTS
from reversal_curse.families import FAMILIES
from reversal_curse.tables.dataset import generate_dataset
from reversal_curse.tables.files import write_table
from reversal_curse.tables.schemas import TABLES

from .conftest import TINY_POINTS, job_counts


def test_every_figure_and_table_is_made_and_progress_is_shown(finished, tiny):
    workflow, output = finished
    names = [*tiny["figures"], "claims_overview"]
    figures = {f"{name}.{end}" for name in names for end in ("pdf", "png", "svg", "csv")}
    assert {path.name for path in workflow.find("figures/*")} == figures
    results = workflow.directory / "results"
    claims = {row["id"]: row for row in pl.read_parquet(results / "claims.parquet").to_dicts()}
    assert claims["chain_learned"]["verdict"] == "not tested"
    assert claims["chain_learned"]["reason"]
    assert claims["reversal_learned"]["verdict"] != "not tested"
    assert "Ledger of claims" in (results / "claims.md").read_text()
    metrics = pl.read_parquet(results / "metrics.parquet")
    assert metrics.select("family", "embed_dim", "vocab_size").unique().height == TINY_POINTS
    assert pl.read_parquet(results / "points.parquet").height == TINY_POINTS
    assert job_counts(output).items() >= {"dataset": 2, "train_gpt": 2, "train_bilinear": 1}.items()
    assert "train 1 grid point of gpt (base, vocab)" in output
    assert ": sentences of task=reversal/vocab_size=20/settings=seeds-2" in output
    assert "(100%) done" in output


def test_a_run_is_its_tables_record_and_log_in_few_inodes_without_partial_files(finished):
    workflow, _ = finished
    (record,) = workflow.find("runs/*/family=gpt/**/vocab_size=24/**/run.json")
    run = record.parent
    assert run.name == "settings=epochs-6+eval_every-2+heads-1+seeds-2"
    files = {path.name for path in run.iterdir()}
    assert files == {*(f"{t}.parquet" for t in FAMILIES["gpt"].tables), "run.json", "train.log"}
    assert json.loads(record.read_text())["settings"]["vocab_size"] == 24
    assert "epoch 6 of 6" in (run / "train.log").read_text()
    levels = run.relative_to(workflow.directory / "results/runs").parts
    assert len(levels) + len(files) <= 15
    assert not [path for path in workflow.find("**/*") if "partial" in path.name]
    assert not workflow.find("checkpoints/*")


def test_plan_says_what_is_trained(copy, nvidia_smi):
    copy.path = f"{nvidia_smi}:{copy.path}"
    output = copy.snakemake("plan", "--resources", "gpu=1")
    (row,) = (line.split() for line in output.splitlines() if line.startswith("all, each"))
    assert row[4:] == [str(TINY_POINTS), str(TINY_POINTS), "0", "-"]
    assert f"corrected by {TINY_POINTS} measured runs" in output
    assert 'Provided resources: gpu=Resource("gpu", 1)' in output, "1 of 2 GPUs"


def test_packing_jobs_differently_trains_nothing_and_changing_a_setting_does(copy):
    assert copy.jobs("--config", "job_minutes=0") == {}
    changed = copy.jobs("figures", "--config", "defaults={epochs: 4}")
    assert (changed["train_gpt"], changed["train_bilinear"]) == (2, 1)


def test_only_a_deleted_run_and_an_added_value_are_trained(copy, tiny):
    before = copy.contents("runs/**/*")
    (lost,) = copy.find("runs/*/family=gpt/**/vocab_size=20")
    shutil.rmtree(lost)
    tiny["sweeps"]["vocab"]["vocab_size"].append(28)
    copy.write_config(**tiny)
    counts = job_counts(copy.snakemake("metrics", "results/figures/mine.svg"))
    trained = {"dataset": 1, "train_gpt": 2}  # V = 28 shares a job with V = 24, which is trained
    assert counts == {**trained, "aggregate": 1, "metrics": 1, "figure_mine": 1}
    after = copy.contents("runs/**/*")
    assert len(copy.find("runs/**/run.json")) == TINY_POINTS + 1
    for path, (time, content) in before.items():
        if lost not in path.parents:
            assert after[path] == (time, content)
        elif path.suffix == ".parquet":
            assert after[path][1] == content
    assert copy.jobs() == {"figure_reversal_vocab": 1, "judge_claims": 1, "write_page": 1}


def test_forcing_everything_loses_no_run(copy):
    before = copy.contents("runs/**/*")
    job = copy.find("jobs/gpt_*.json")[0].relative_to(copy.directory)
    counts = job_counts(copy.snakemake("results/figures/mine.pdf", str(job), "--forceall"))
    assert counts == {"figure_mine": 1, "train_gpt": 1, "dataset": 1}
    assert copy.contents("runs/**/*") == before


def test_a_config_with_a_name_has_files_of_its_own_and_shares_the_runs(copy, tiny):
    before = copy.contents("**/*")
    copy.write_config(**tiny | {"name": "other", "figures": {"reversal_curve": "base"}})
    counts = job_counts(copy.snakemake("figures", "metrics"))
    own = ("figure_reversal_curve", "aggregate", "figures", "metrics")
    assert counts == dict.fromkeys(own, 1)
    made = {str(p.relative_to(copy.directory / "results/other")) for p in copy.find("other/**/*.*")}
    figures = {f"figures/reversal_curve.{suffix}" for suffix in ("pdf", "png", "svg", "csv")}
    logs = {"logs/aggregate.log", "logs/figures/reversal_curve.log"}
    records = {"made/metrics.json", "made/figures/reversal_curve.json"}
    assert made == {"metrics.parquet", "points.parquet"} | figures | logs | records
    assert copy.contents("**/*").items() >= before.items()


def test_only_a_deleted_figure_and_one_whose_code_changed_are_drawn_again(
    copy, tmp_path, monkeypatch
):
    """Every file of the checkout has a new time, but nothing is trained."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for name in ("workflow", "config", "profiles", "src"):
        shutil.copytree(copy.root / name, checkout / name, ignore=left_out)
    shutil.copy(copy.root / "Snakefile", checkout)
    with open(checkout / "src/reversal_curse/figures/separation.py", "a") as changed:
        changed.write("\nCHANGED = True\n")
    for path in checkout.rglob("*"):
        os.utime(path)
    monkeypatch.setenv("PYTHONPATH", str(checkout / "src"))
    copy.root = checkout
    (copy.directory / "results/figures/reversal_vocab.pdf").unlink()
    drawn = {"figure_reversal_vocab": 1, "figure_bilinear_separation": 1}
    assert copy.jobs() == {**drawn, "write_page": 1}


def write_dataset(results: Path, point, content) -> None:
    """Write the sentences of the grid point `content` where those of `point` belong."""
    path = results / "data" / dataset_directory(point) / "dataset.parquet"
    write_table(path, generate_dataset(content), TABLES["dataset"])
    os.utime(path, (0, 0))


def test_a_grid_point_that_fails_is_tried_again_alone(workflow):
    """Three grid points share a job; at first the second has the dataset of the first."""
    workflow.write_config(sweeps={"vocab": {"vocab_size": [20, 24, 28]}}, job_minutes=9.0)
    results = workflow.directory / "results"
    first, second, _ = read_sweeps(Config.load(workflow.config_file))["vocab"].points.values()
    write_dataset(results, second, first)
    output = workflow.snakemake("metrics", status=1)
    assert "not the dataset of task=reversal/vocab_size=24" in output  # the log is printed
    assert "1 of 3 grid points failed" in output
    assert "run the same command to retry" in output
    assert "Traceback" not in output
    assert not workflow.find("jobs/*")
    trained = [path.parent for path in workflow.find("runs/**/run.json")]
    assert [path.parts[-3] for path in trained] == ["vocab_size=20", "vocab_size=28"]
    before = {path: workflow.contents(f"{path.relative_to(results)}/*") for path in trained}
    write_dataset(results, second, second)
    again = job_counts(workflow.snakemake("metrics"))
    assert again == {"train_gpt": 1, "aggregate": 1, "metrics": 1}
    assert len(workflow.find("runs/**/run.json")) == 3
    assert {path: workflow.contents(f"{path.relative_to(results)}/*") for path in trained} == before


def test_the_longest_training_job_starts_first(workflow):
    """They are declared from short to long, and run one at a time."""
    workflow.write_config(sweeps={"layers": {"layers": [1, 4]}}, job_minutes=0.0)
    workflow.snakemake("metrics", "--cores", "1")
    made = sorted(workflow.find("runs/**/run.json"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.parts[-6] for path in made] == ["layers=4", "layers=1"]


def test_the_report_is_built_offline_and_says_what_figures_show(copy):
    copy.snakemake("--report", "report.html")
    report = (copy.directory / "report.html").read_text()
    captions = ("The reversal curse during training", "Of my own", PLOTS["overview"].caption())
    for text in (*captions, "data:text/html;charset=utf8;filename=ledger.html"):
        assert text in report


def test_the_next_call_finishes_a_workflow_that_was_killed(workflow, tiny):
    """A second Snakemake is refused and leaves the first one alone, until that is killed."""
    workflow.lock = True
    workflow.write_config(defaults={**tiny["defaults"], "epochs": 5000, "eval_every": 5000})
    process = workflow.start("metrics")
    logs = workflow.directory / "results/runs"
    wait_for(lambda: any("epoch 0 of" in path.read_text() for path in logs.rglob("train.log")))
    assert "can be removed with the --unlock argument" in workflow.snakemake("metrics", status=1)
    assert process.poll() is None
    kill(process)
    assert not workflow.find("runs/**/run.json")
    workflow.snakemake("metrics")
    assert workflow.find("metrics.parquet")
    assert not workflow.find("checkpoints/*")
