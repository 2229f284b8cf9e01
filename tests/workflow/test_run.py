"""A tiny sweep for real: what is made, and what is made again."""

from __future__ import annotations

import json
import os
import shutil
import signal

import polars as pl

from reversal_curse.config.plots import PLOTS
from reversal_curse.families import FAMILIES

from .conftest import TINY_POINTS, job_counts


def test_every_figure_and_table_is_made(finished, tiny):
    workflow, output = finished
    assert {path.name for path in workflow.find("figures/*")} == {
        f"{name}.{suffix}" for name in tiny["figures"] for suffix in ("pdf", "png", "svg")
    }
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


def test_progress_is_shown(finished):
    _, output = finished
    assert "train 1 grid point of gpt (base, vocab)" in output
    assert ": sentences of task=reversal/vocab_size=20/settings=seeds-2" in output
    assert "(100%) done" in output


def test_a_run_holds_its_tables_its_record_and_its_log_and_costs_few_inodes(finished):
    workflow, _ = finished
    (record,) = workflow.find("runs/*/family=gpt/**/vocab_size=24/**/run.json")
    run = record.parent
    assert run.name == "settings=epochs-6+eval_every-2+heads-1+seeds-2"
    files = {path.name for path in run.iterdir()}
    assert files == {*(f"{t}.parquet" for t in FAMILIES["gpt"].tables), "run.json", "train.log"}
    assert json.loads(record.read_text())["settings"]["vocab_size"] == 24
    assert "epoch 6 of 6" in (run / "train.log").read_text()
    levels = run.relative_to(workflow.directory / "results/runs").parts
    assert len(levels) + len(files) <= 14


def test_no_partial_file_and_no_checkpoint_is_left(finished):
    workflow, _ = finished
    assert not [path for path in workflow.find("**/*") if "partial" in path.name]
    assert not workflow.find("checkpoints/*")


def test_plan_says_what_is_trained(finished):
    output = finished[0].snakemake("plan")
    (row,) = (line.split() for line in output.splitlines() if line.startswith("all, each"))
    assert row[4:] == [str(TINY_POINTS), str(TINY_POINTS), "0", "-"]
    assert f"corrected by {TINY_POINTS} measured runs" in output


def test_a_second_call_does_nothing_however_jobs_are_packed(copy):
    assert "Nothing to be done" in copy.snakemake()
    assert copy.jobs("--config", "job_minutes=0") == {}


def test_a_deleted_figure_is_rendered_again_without_training(copy):
    (copy.directory / "results/figures/reversal_vocab.pdf").unlink()
    assert copy.jobs() == {"figure_reversal_vocab": 1}


def test_a_value_added_to_a_list_trains_only_the_new_point(copy, tiny):
    tiny["sweeps"]["vocab"]["vocab_size"].append(28)
    copy.write_config(**tiny)
    before = copy.contents("runs/**/*")
    expected = {"dataset": 1, "train_gpt": 1, "figure_reversal_vocab": 1, "figure_mine": 1}
    assert copy.jobs("figures") == {**expected, "figures": 1}
    copy.snakemake("results/figures/mine.svg")
    after = copy.contents("runs/**/*")
    assert len(after) > len(before)
    assert after.items() >= before.items()


def test_a_changed_setting_trains_anew_and_changed_back_nothing(copy):
    changed = copy.jobs("figures", "--config", "defaults={epochs: 4}")
    assert (changed["train_gpt"], changed["train_bilinear"]) == (2, 1)
    assert copy.jobs() == {}


def test_a_run_deleted_by_hand_is_trained_again_and_is_the_same(copy):
    before = copy.contents("runs/**/*")
    (lost,) = copy.find("runs/*/family=gpt/**/vocab_size=24")
    shutil.rmtree(lost)
    expected = {"train_gpt": 1, "aggregate": 1, "figure_mine": 1, "figure_reversal_vocab": 1}
    counts = job_counts(copy.snakemake())
    assert {rule: counts[rule] for rule in counts if rule != "judge_claims"} == expected
    after = copy.contents("runs/**/*")
    assert after.keys() == before.keys()
    for path, (time, content) in before.items():
        if lost not in path.parents:
            assert after[path] == (time, content)
        elif path.suffix == ".parquet":
            assert after[path][1] == content
    assert copy.jobs() == {}


def test_forcing_everything_loses_no_run(copy):
    before = copy.contents("runs/**/*")
    job = copy.find("jobs/gpt_*.json")[0].relative_to(copy.directory)
    counts = job_counts(copy.snakemake("results/figures/mine.pdf", str(job), "--forceall"))
    assert counts == {"figure_mine": 1, "train_gpt": 1, "dataset": 1}
    assert copy.contents("runs/**/*") == before


def test_a_config_with_a_name_has_files_of_its_own_and_shares_the_runs(copy, tiny):
    before = copy.contents("**/*")
    copy.write_config(**tiny | {"name": "other", "figures": {"reversal_curve": "base"}})
    assert copy.jobs() == {"figure_reversal_curve": 1, "aggregate": 1, "judge_claims": 1}
    copy.snakemake("figures", "metrics")
    made = {str(p.relative_to(copy.directory / "results/other")) for p in copy.find("other/**/*.*")}
    figures = {f"figures/reversal_curve.{suffix}" for suffix in ("pdf", "png", "svg")}
    logs = {"logs/aggregate.log", "logs/figures/reversal_curve.log"}
    assert made == {"metrics.parquet", "points.parquet"} | figures | logs
    assert copy.contents("**/*").items() >= before.items()


def test_a_checkout_that_touches_every_file_reruns_nothing(copy, tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Snakefile", "workflow", "config", "profiles"):
        source = copy.root / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, checkout / name)
    for path in checkout.rglob("*"):
        os.utime(path)
    copy.root = checkout
    assert copy.jobs() == {}


def test_changed_figure_code_renders_that_figure_and_never_trains(finished, tmp_path, monkeypatch):
    """The package is copied and its figure changed; Snakemake runs on the copy."""
    workflow, _ = finished
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(workflow.root / "src", tmp_path / "package", ignore=left_out)
    with open(tmp_path / "package/reversal_curse/figures/separation.py", "a") as changed:
        changed.write("\n# changed\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    assert workflow.jobs() == {"figure_bilinear_separation": 1}


def test_a_grid_point_that_fails_is_tried_again_alone(workflow):
    """Three grid points in one job; the dataset of the second is that of another at first."""
    workflow.write_config(sweeps={"vocab": {"vocab_size": [20, 24, 28]}}, job_minutes=9.0)
    results = workflow.directory / "results"
    workflow.snakemake("data")
    other, dataset, _ = workflow.find("data/**/dataset.parquet")
    content, times = dataset.read_bytes(), (dataset.stat().st_mtime_ns,) * 2
    dataset.write_bytes(other.read_bytes())
    os.utime(dataset, ns=times)
    output = workflow.snakemake("metrics", status=1)
    assert "not the dataset of task=reversal/vocab_size=24" in output  # the log is printed
    assert "1 of 3 grid points failed" in output
    assert "the same command tries again what failed" in output
    assert "Traceback" not in output
    assert not workflow.find("jobs/*")
    trained = [path.parent for path in workflow.find("runs/**/run.json")]
    assert [path.parts[-3] for path in trained] == ["vocab_size=20", "vocab_size=28"]
    before = {path: workflow.contents(f"{path.relative_to(results)}/*") for path in trained}
    dataset.write_bytes(content)
    os.utime(dataset, ns=times)
    assert job_counts(workflow.snakemake("metrics")) == {
        "train_gpt": 1,
        "aggregate": 1,
        "metrics": 1,
    }
    assert len(workflow.find("runs/**/run.json")) == 3
    assert {path: workflow.contents(f"{path.relative_to(results)}/*") for path in trained} == before


def test_the_longest_training_job_starts_first(workflow):
    """Declared from short to long, one at a time."""
    workflow.write_config(sweeps={"layers": {"layers": [1, 2, 4]}}, job_minutes=0.0)
    workflow.snakemake("metrics", "--cores", "1")
    made = sorted(workflow.find("runs/**/run.json"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.parts[-6] for path in made] == ["layers=4", "layers=2", "layers=1"]


def test_the_report_is_built_offline_and_says_what_figures_show(copy):
    copy.snakemake("--report", "report.html")
    report = (copy.directory / "report.html").read_text()
    for text in ("The reversal curse during training", "Of my own", PLOTS["overview"].caption()):
        assert text in report


def test_a_workflow_that_was_killed_says_what_to_do_and_then_ends_complete(workflow, tiny):
    """SIGKILL of Snakemake and its jobs while they train: the lock stays, the work does too."""
    workflow.lock = True
    workflow.write_config(defaults={**tiny["defaults"], "epochs": 8000, "eval_every": 4000})
    process = workflow.start("metrics")
    workflow.wait_for("runs/**/train.log", "epoch 0 of")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not workflow.find("runs/**/run.json")
    assert "can be removed with the --unlock argument" in workflow.snakemake("metrics", status=1)
    workflow.snakemake("--unlock")
    workflow.snakemake("metrics")
    assert workflow.find("metrics.parquet")
    assert not workflow.find("checkpoints/*")


def test_a_second_snakemake_in_the_same_folder_leaves_the_first_alone(workflow):
    workflow.lock = True
    target = "results/figures/reversal_curve.pdf"
    first = workflow.start(target)
    workflow.wait_for("logs/jobs/*.log")
    assert "Directory cannot be locked" in workflow.snakemake(target, status=1)
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output
    assert (workflow.directory / target).exists()
