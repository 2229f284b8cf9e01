"""Checkpoints: a run that was stopped ends as if it had not been; what is damaged is left out."""

from __future__ import annotations

import hashlib
import pickle
import signal
from datetime import datetime

import pytest
import torch

from reversal_curse.families import FAMILIES
from reversal_curse.tables.files import write_table
from reversal_curse.tables.schemas import TABLES
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.grid_point import run_key
from reversal_curse.training.interruption import (
    MARGIN,
    TIME_IS_UP,
    Interrupted,
    Interruption,
    job_end,
)
from reversal_curse.training.loop import train
from stopping import StopAfter

CPU = torch.device("cpu")


def table_bytes(tables, folder) -> dict[str, bytes]:
    written = {}
    for name, frame in tables.items():
        write_table(folder / f"{name}.parquet", frame, TABLES[name])
        written[name] = (folder / f"{name}.parquet").read_bytes()
    return written


def stop_and_go_on(settings, dataset, folder, stops: list[int]):
    for epochs in stops:
        with pytest.raises(
            Interrupted, match=r"stopped by the test after epoch \d+ of 20; progress"
        ):
            train(settings, dataset, CPU, Checkpoints(folder, 1e9), StopAfter(epochs))
    return train(settings, dataset, CPU, Checkpoints(folder, 1e9))


@pytest.mark.slow
@pytest.mark.parametrize("stops", [[1], [19], [3, 5, 4, 1]], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_was_stopped_ends_byte_for_byte_as_one_that_was_not(
    small_settings, make_dataset, tmp_path, family, stops
):
    settings = small_settings(family=family)
    dataset = make_dataset(settings)
    whole = table_bytes(train(settings, dataset, CPU), tmp_path / "whole")
    pieces = stop_and_go_on(settings, dataset, tmp_path / "checkpoints", stops)
    assert table_bytes(pieces, tmp_path / "pieces") == whole


def saved(small_settings, make_dataset, tmp_path):
    """A run whose every epoch was kept, stopped after six; its settings, dataset, checkpoints."""
    settings = small_settings()
    dataset = make_dataset(settings)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 0.0)
    with pytest.raises(Interrupted):
        train(settings, dataset, CPU, checkpoints, StopAfter(6))
    return settings, dataset, checkpoints


def files(checkpoints: Checkpoints) -> list:
    return sorted(checkpoints.folder.iterdir())


def test_the_two_newest_are_kept_and_all_are_removed_at_the_end(
    small_settings, make_dataset, tmp_path
):
    *_, checkpoints = saved(small_settings, make_dataset, tmp_path)
    assert [path.name.split(".")[0] for path in files(checkpoints)] == ["000000005", "000000006"]
    checkpoints.clear()
    assert not checkpoints.folder.exists()


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one byte flipped": lambda content: content[:900] + bytes([content[900] ^ 1]) + content[901:],
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("how_many", [1, 2])
def test_a_damaged_checkpoint_is_left_out_and_the_run_ends_the_same(
    small_settings, make_dataset, tmp_path, capfd, damage, how_many
):
    settings, dataset, checkpoints = saved(small_settings, make_dataset, tmp_path)
    for path in files(checkpoints)[-how_many:]:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    tables = train(settings, dataset, CPU, checkpoints)
    output, errors = capfd.readouterr()
    assert errors.count("damaged checkpoint left out") == how_many
    assert ("going on after epoch 5" in output) == (how_many == 1)
    whole = table_bytes(train(settings, dataset, CPU), tmp_path / "whole")
    assert table_bytes(tables, tmp_path / "again") == whole


def test_memory_that_runs_out_is_no_damage(
    small_settings, make_dataset, tmp_path, capfd, monkeypatch
):
    """The states are whole, and the next attempt may have a larger GPU."""
    *_, checkpoints = saved(small_settings, make_dataset, tmp_path)
    kept = files(checkpoints)

    def load(*given, **more):
        raise torch.OutOfMemoryError("a GPU that is too small")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(torch.OutOfMemoryError):
        checkpoints.newest(CPU)
    assert files(checkpoints) == kept
    assert "damaged" not in capfd.readouterr().err


def test_checkpoints_of_a_gpu_are_not_taken_up_on_a_cpu(small_settings):
    """The random streams of the one are not those of the other."""
    settings = small_settings()
    assert run_key(settings, torch.device("cuda", 0)) != run_key(settings, CPU)
    assert run_key(settings, torch.device("cuda", 0)) == run_key(settings, torch.device("cuda", 1))


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_reading_a_checkpoint_runs_no_code_from_it(tmp_path, capfd, how):
    folder, trap = tmp_path / "checkpoints", tmp_path / "trap"
    folder.mkdir()
    if how == "torch":
        torch.save({"epoch": Evil(trap)}, folder / "x")
    else:
        (folder / "x").write_bytes(pickle.dumps(Evil(trap), protocol=2))
    digest = hashlib.sha256((folder / "x").read_bytes()).hexdigest()
    (folder / "x").rename(folder / f"000000001.{digest}.pt")
    assert Checkpoints(folder, 0.0).newest(CPU) is None
    assert not trap.exists()
    assert "damaged checkpoint left out" in capfd.readouterr().err


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_run(
    small_settings, make_dataset, tmp_path, capfd
):
    settings = small_settings(epochs=3)
    (tmp_path / "file").write_text("no folder")
    checkpoints = Checkpoints(tmp_path / "file" / "checkpoints", 0.0)
    assert train(settings, make_dataset(settings), CPU, checkpoints)["metrics"].height
    assert "no checkpoint after epoch 1: " in capfd.readouterr().err


def test_a_run_stops_before_the_time_of_its_job_is_up(monkeypatch):
    import time

    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + MARGIN + 1000)))
    assert Interruption().reason() is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + MARGIN - 10)))
    interruption = Interruption()
    assert interruption.reason() == "the end of the job's time"
    assert interruption.error("x", 1, 2, saved=True).status == TIME_IS_UP


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("2026-11-21T10:00:00", datetime(2026, 11, 21, 10).timestamp()), ("N/A", None), ("", None)],
)
def test_the_controller_is_asked_for_the_end_of_the_job(monkeypatch, tmp_path, answer, expected):
    """A program called squeue that answers as SLURM's does."""
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho '{answer}'\n")
    squeue.chmod(0o755)
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert job_end() == expected
    monkeypatch.delenv("SLURM_JOB_ID")
    assert job_end() is None


def test_signals_are_noted_inside_the_block_and_have_their_old_meaning_after_it():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        assert interruption.reason() is None
        signal.raise_signal(signal.SIGTERM)
        assert interruption.reason() == "SIGTERM"
        assert interruption.error("SIGTERM", 1, 2, saved=False).status == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
