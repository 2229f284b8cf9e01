"""Putting a finished run where tables are read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reversal_curse.collect import main

POINT = "task=reversal/settings=x"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A finished run of one table in `trained`."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "trained" / POINT
    run.mkdir(parents=True)
    (run / "metrics.parquet").write_bytes(b"metrics")
    (run / "run.json").write_text("{}")
    return tmp_path


def collect(*more: str) -> int:
    places = ["--trained", "trained", "--runs", "runs", "--logs", "logs"]
    return main([*places, "--tables", "metrics", "--point", POINT, *more])


def write_report(outcome: str) -> None:
    Path("pack.json").write_text(json.dumps({POINT: outcome}))


@pytest.mark.usefixtures("folder")
def test_its_files_are_the_same_files():
    assert collect("--report") == 0
    for name in ("metrics.parquet", "run.json"):
        assert os.path.samefile(f"trained/{POINT}/{name}", f"runs/{POINT}/{name}")


@pytest.mark.usefixtures("folder")
def test_a_file_system_without_links_gets_copies(monkeypatch):
    def refuse(*arguments):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert collect("--report") == 0
    assert Path(f"runs/{POINT}/metrics.parquet").read_bytes() == b"metrics"


@pytest.mark.usefixtures("folder")
def test_what_stood_there_before_is_replaced():
    path = Path(f"runs/{POINT}/metrics.parquet")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    assert collect("--report") == 0
    assert path.read_bytes() == b"metrics"


@pytest.mark.usefixtures("folder")
def test_old_files_of_a_run_that_failed_are_not_taken_for_its_result(capsys):
    write_report("failed: no memory")
    run = Path(f"runs/{POINT}")
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")  # Snakemake follows the tables only, and removes those
    log = Path(f"logs/{POINT}.log")
    log.parent.mkdir(parents=True)
    log.write_text("the last words\n")
    assert collect("--report", "pack.json") == 1
    output = capsys.readouterr()
    assert "the last words" in output.out
    assert output.err == f"{POINT}: failed: no memory; the same command tries it again\n"
    assert not list(run.iterdir())
    assert Path("pack.again").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"null"])
def test_a_damaged_report_is_said_in_one_line(capsys, content):
    Path("pack.json").write_bytes(content)
    assert collect("--report", "pack.json") == 1
    assert "pack.json says nothing of it" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_call_for_another_try_is_forgotten_once_it_was_answered():
    Path("pack.again").touch()
    os.utime("pack.again", (1, 1))
    write_report("trained")
    assert collect("--report", "pack.json") == 0
    assert not Path("pack.again").exists()


def test_missing_files_are_said_and_tried_again(folder, capsys):
    (folder / "trained" / POINT / "metrics.parquet").unlink()
    write_report("trained")
    assert collect("--report", "pack.json") == 1
    assert "its files are missing; the same command tries it again" in capsys.readouterr().err
    assert Path("pack.again").exists()
