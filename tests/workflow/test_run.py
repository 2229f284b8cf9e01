"""A tiny sweep for real: what is made, and what is made again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import polars as pl
import pytest

from reversal_curse.registry import run_tables

from .conftest import TINY_POINTS, Workflow, job_counts


@pytest.fixture
def copy(finished, tmp_path) -> Workflow:
    """The finished run, to change at will."""
    original, _ = finished
    shutil.copytree(original.directory, tmp_path / "copy")
    return Workflow(original.root, tmp_path / "copy", original.snakefile)


@pytest.fixture
def own_checkout(finished, root, tmp_path) -> Workflow:
    """The finished run beside a copy of the workflow's files, to change at will."""
    original, _ = finished
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Snakefile", "workflow", "config", "profiles"):
        source = root / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, checkout / name)
    shutil.copytree(original.directory, tmp_path / "run")
    return Workflow(checkout, tmp_path / "run", checkout / "Snakefile")


def files(directory: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.glob(pattern)}


def test_every_figure_and_table_is_made(finished, tiny):
    workflow, output = finished
    made = files(workflow.directory, "results/figures/*")
    assert made == {
        f"results/figures/{name}.{suffix}" for name in tiny["figures"] for suffix in ("pdf", "png")
    }
    claims = pl.read_parquet(workflow.directory / "results/claims.parquet")
    verdicts = dict(claims.select("id", "verdict").iter_rows())
    assert verdicts["chain_learned"] == "not tested at this scale"
    assert verdicts["reversal_learned"] != "not tested at this scale"
    assert "Ledger of claims" in (workflow.directory / "results/claims.md").read_text()
    metrics = pl.read_parquet(workflow.directory / "results/metrics.parquet")
    points = metrics.select("family", "embed_dim", "vocab_size", "variant").unique()
    assert points.height == TINY_POINTS
    counts = job_counts(output)
    assert counts["collect_gpt"] + counts["collect_bilinear"] == TINY_POINTS
    assert counts["dataset"] == 2


def test_progress_is_shown(finished):
    _, output = finished
    assert "train 1 grid point of gpt (base, vocab, frozen, overview)" in output
    assert ": task=reversal/family=gpt/layers=1" in output
    assert "(100%) done" in output


def test_a_run_directory_holds_its_tables_and_its_record(finished):
    workflow, _ = finished
    (run,) = workflow.directory.glob("results/runs/**/family=gpt/**/variant=frozen/*/run.json")
    assert {path.name for path in run.parent.iterdir()} == {
        *(f"{table}.parquet" for table in run_tables("gpt")),
        "run.json",
    }
    record = json.loads(run.read_text())
    assert record["settings"]["freeze_embeddings"] is True
    assert f"settings={record['settings_hash']}" == run.parent.name


def test_no_partial_file_is_left(finished):
    workflow, _ = finished
    assert not [path for path in workflow.directory.rglob("*") if "partial" in path.name]


def test_a_second_call_does_nothing(copy):
    assert "Nothing to be done" in copy.snakemake()


def test_a_deleted_figure_is_rendered_again_without_training(copy):
    (copy.directory / "results/figures/reversal_vocab.pdf").unlink()
    counts = job_counts(copy.snakemake())
    counts.pop("all")
    assert counts == {"figure_reversal_vocab": 1}


def test_a_value_added_to_a_list_trains_only_the_new_points(copy, tiny):
    sweeps = [dict(sweep) for sweep in tiny["sweeps"]]
    sweeps[1]["vocab_size"] = [20, 24, 28]
    copy.write_config({**tiny, "sweeps": sweeps})
    before = {p: p.stat().st_mtime_ns for p in copy.directory.glob("results/runs/**/*.parquet")}
    counts = job_counts(copy.snakemake("results/figures/reversal_vocab.pdf"))
    assert counts == {
        "dataset": 1,
        "train_gpt": 1,
        "collect_gpt": 1,
        "aggregate_sweep": 1,
        "figure_reversal_vocab": 1,
    }
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_changed_setting_leaves_the_old_runs_and_trains_beside_them(copy, tiny):
    before = files(copy.directory, "results/runs/**/metrics.parquet")
    copy.write_config({**tiny, "defaults": {**tiny["defaults"], "epochs": 4}})
    counts = job_counts(copy.snakemake("results/figures/reversal_curve.pdf"))
    assert counts["train_gpt"] == 1
    after = files(copy.directory, "results/runs/**/metrics.parquet")
    assert before < after
    copy.write_config(tiny)
    assert not {"train_gpt", "collect_gpt", "collect_bilinear"} & copy.jobs().keys()


def test_a_sweep_that_changes_leaves_the_figures_of_others_alone(copy, tiny):
    sweeps = [dict(sweep) for sweep in tiny["sweeps"]]
    sweeps[1]["vocab_size"] = [20, 24, 28]
    copy.write_config({**tiny, "sweeps": sweeps})
    jobs = copy.jobs("figures")
    figures = {rule for rule in jobs if rule.startswith("figure_")}
    assert figures == {"figure_reversal_vocab", "figure_embedding_cosine"}


def test_a_checkout_that_touches_every_file_reruns_nothing(own_checkout):
    for path in own_checkout.root.rglob("*"):
        if path.is_file():
            os.utime(path)
    assert own_checkout.jobs() == {}


def test_changed_figure_code_renders_that_figure_and_never_trains(finished, root, tmp_path):
    """The package is copied and its figure changed; Snakemake runs on the copy."""
    original, _ = finished
    shutil.copytree(original.directory, tmp_path / "run")
    package = tmp_path / "package"
    shutil.copytree(
        root / "src", package, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
    )
    changed = package / "reversal_curse/figures/embedding_cosine.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    workflow = Workflow(root, tmp_path / "run", root / "Snakefile")
    os.environ["PYTHONPATH"] = str(package)
    try:
        jobs = workflow.jobs()
    finally:
        del os.environ["PYTHONPATH"]
    assert {rule for rule in jobs if rule != "all"} == {"figure_embedding_cosine"}


def test_a_run_that_failed_leaves_no_table_and_names_its_log(copy):
    """A dataset that is no Parquet: the job fails with one line, in the log that is printed."""
    gone = next(copy.directory.glob("results/runs/**/variant=frozen/*/metrics.parquet"))
    gone.unlink()
    next(copy.directory.glob("results/trained/**/variant=frozen/*/run.json")).unlink()
    (copy.directory / "results/sweeps/frozen/metrics.parquet").unlink()
    (copy.directory / "results/figures/reversal_frozen.pdf").unlink()
    dataset = next(copy.directory.glob("results/data/**/vocab_size=20/**/dataset.parquet"))
    times = dataset.stat().st_mtime_ns
    dataset.write_bytes(b"no table")
    os.utime(dataset, ns=(times, times))
    output = copy.snakemake("results/figures/reversal_frozen.pdf", "--show-failed-logs", status=1)
    assert "dataset.parquet: no readable Parquet table" in output
    assert "Traceback" not in output
    assert not gone.exists()


def test_a_deleted_run_is_there_again_without_training(copy):
    run = next(copy.directory.glob("results/runs/**/variant=frozen/*/metrics.parquet")).parent
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    shutil.rmtree(run)
    target = run.relative_to(copy.directory) / "metrics.parquet"
    assert job_counts(copy.snakemake(str(target))) == {"collect_gpt": 1}
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_forcing_everything_loses_no_run(copy):
    before = {p: p.read_bytes() for p in copy.directory.glob("results/runs/**/*") if p.is_file()}
    copy.snakemake("results/figures/reversal_curve.pdf", "--forceall")
    assert all(path.read_bytes() == content for path, content in before.items())


def test_how_jobs_are_packed_reruns_nothing(copy):
    assert copy.jobs("--config", "job_minutes=0") == {}


def test_a_grid_point_that_fails_costs_its_neighbours_nothing(root, tmp_path, tiny):
    """Three grid points in one job; the dataset of the second is no Parquet at first."""
    workflow = Workflow(root, tmp_path, root / "Snakefile")
    sweep = {"name": "vocab", "vocab_size": [20, 24, 28]}
    config = {"defaults": tiny["defaults"], "sweeps": [sweep]}
    workflow.write_config({**config, "figures": {"reversal_vocab": "vocab"}})
    workflow.snakemake("data")
    dataset = next(tmp_path.glob("results/data/**/vocab_size=24/**/dataset.parquet"))
    content, times = dataset.read_bytes(), dataset.stat().st_mtime_ns
    dataset.write_bytes(b"no table")
    os.utime(dataset, ns=(times, times))
    target = "results/figures/reversal_vocab.pdf"
    output = workflow.snakemake(target, status=1)
    assert "dataset.parquet: no readable Parquet table" in output
    assert "the same command tries it again" in output
    runs = {path.parts[-9]: path for path in tmp_path.glob("results/runs/**/run.json")}
    assert runs.keys() == {"vocab_size=20", "vocab_size=28"}
    before = {path: path.stat().st_mtime_ns for path in runs.values()}
    dataset.write_bytes(content)
    os.utime(dataset, ns=(times, times))
    counts = job_counts(workflow.snakemake(target))
    assert counts["train_gpt"] == counts["collect_gpt"] == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / target).exists()
    assert not list(tmp_path.glob("results/packs/*"))


def test_the_longest_training_job_starts_first(root, tmp_path, tiny):
    """Declared from short to long, one at a time; what is finished is collected at once."""
    workflow = Workflow(root, tmp_path, root / "Snakefile")
    sweep = {"name": "layers", "layers": [1, 2, 4]}
    workflow.write_config({"defaults": tiny["defaults"], "sweeps": [sweep]})
    workflow.snakemake("metrics", "--config", "job_minutes=0", "--cores", "1")
    made, collected = (
        sorted((path.stat().st_mtime_ns, path) for path in tmp_path.glob(f"results/{files}"))
        for files in ("trained/**/run.json", "logs/collect/**/*.log")
    )
    layers = [next(part for part in path.parts if "layers=" in part) for _, path in made]
    assert layers == ["layers=4", "layers=2", "layers=1"]
    assert collected[0] < made[1], "what is trained is collected before more is trained"


def test_plan_says_what_is_trained(finished):
    workflow, _ = finished
    output = workflow.snakemake("plan")
    (row,) = (line.split() for line in output.splitlines() if line.startswith("all, each"))
    assert row[-4:] == [str(TINY_POINTS), str(TINY_POINTS), "0", "-"]
    assert f"corrected by {TINY_POINTS} measured runs" in output


def test_the_report_is_built_offline(copy):
    copy.snakemake("--report", "report.html")
    report = (copy.directory / "report.html").read_text()
    assert "The reversal curse during training" in report
    assert "reversal curse" in report
    assert len(report) > 100_000


def test_a_workflow_that_was_killed_says_what_to_do_and_then_ends_complete(root, tmp_path, tiny):
    """SIGKILL of Snakemake and its jobs while they train: the lock stays, the work does too."""
    workflow = Workflow(root, tmp_path, root / "Snakefile", lock=True)
    slow = {**tiny["defaults"], "epochs": 8000, "eval_every": 4000}
    workflow.write_config({**tiny, "defaults": slow, "families": {}})
    target = "results/figures/reversal_curve.pdf"
    process = workflow.start(target)
    deadline = time.monotonic() + 120
    logs = tmp_path / "results/logs/runs"
    while not any("epoch 0 of" in log.read_text() for log in logs.glob("**/*.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.glob("results/runs/**/run.json"))
    assert "can be removed with the --unlock argument" in workflow.snakemake(target, status=1)
    workflow.snakemake("--unlock")
    workflow.snakemake(target)
    assert (tmp_path / target).exists()
    assert not list(tmp_path.glob("results/checkpoints/*"))


def test_a_second_snakemake_in_the_same_folder_leaves_the_first_alone(root, tmp_path, tiny):
    workflow = Workflow(root, tmp_path, root / "Snakefile", lock=True)
    workflow.write_config(tiny)
    target = "results/figures/reversal_curve.pdf"
    first = workflow.start(target)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/logs/packs/*.log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    output = workflow.snakemake(target, status=1)
    assert "Directory cannot be locked" in output
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output
    assert (tmp_path / target).exists()
