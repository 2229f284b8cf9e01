"""Checkpoints: a stopped run ends as if it had not been stopped; damaged files are skipped."""

import hashlib
import pickle
import signal
import time
from datetime import datetime

import pytest
import torch

from reversal_curse.families import FAMILIES
from reversal_curse.training import interruption
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.grid_point import state_key
from reversal_curse.training.interruption import Interrupted, Interruption
from small_runs import CPU, dataset_of, same_tables, small_settings, trained
from stopping import StopAfter


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        *({"family": name} for name in FAMILIES),
        {"optimizer": "sgd", "copy_first": "masked"},
        {"optimizer": "muon", "copy_first": "random"},
        {"family": "one_layer", "factorised": True},
        {"task": "inverse", "bridge": "full", "reversal": "permutation"},
    ],
    ids=str,
)
def test_a_stopped_run_ends_with_the_same_bits_as_one_that_was_not(tmp_path, overrides):
    settings, checkpoints = small_settings(**overrides), Checkpoints(tmp_path / "kept", 1e9)
    whole = trained(settings)
    for epochs, reached in ((1, 1), (5, 6), (13, 19)):
        stopped = f"stopped by the test after epoch {reached} of 20; progress"
        with pytest.raises(Interrupted, match=stopped):
            trained(settings, checkpoints, StopAfter(epochs))
    assert same_tables(trained(settings, checkpoints), whole)


@pytest.fixture
def saved(tmp_path) -> Checkpoints:
    """Checkpoints of a run that saves one at every epoch and was stopped after six."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", 0.0)
    with pytest.raises(Interrupted):
        trained(small_settings(layers=1), checkpoints, StopAfter(6))
    return checkpoints


def test_the_two_newest_are_kept_and_all_are_removed_at_the_end(saved):
    assert [path.name.split(".")[0] for path in sorted(saved.folder.iterdir())] == [
        "000000005",
        "000000006",
    ]
    saved.clear()
    assert not saved.folder.exists()


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one byte flipped": lambda content: content[:900] + bytes([content[900] ^ 1]) + content[901:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoints_are_left_out(saved, capfd, damage):
    for count, path in enumerate(sorted(saved.folder.iterdir(), reverse=True), start=1):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
        found = saved.newest(CPU)
        assert (found and found["epoch"]) == (5 if count == 1 else None)
        assert capfd.readouterr().err.count("skipped a damaged checkpoint") == count


def test_running_out_of_memory_is_not_damage(saved, capfd, monkeypatch):
    """The states are whole, and the next attempt may have a larger GPU."""
    kept = sorted(saved.folder.iterdir())

    def load(*given, **more):
        raise torch.OutOfMemoryError("a GPU that is too small")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(torch.OutOfMemoryError):
        saved.newest(CPU)
    assert sorted(saved.folder.iterdir()) == kept
    assert "damaged" not in capfd.readouterr().err


def test_checkpoints_of_a_gpu_are_not_taken_up_on_a_cpu():
    """The two devices have different random streams."""
    run = small_settings(), dataset_of(small_settings())
    assert state_key(*run, torch.device("cuda", 0)) != state_key(*run, CPU)
    assert state_key(*run, torch.device("cuda", 0)) == state_key(*run, torch.device("cuda", 1))


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
    assert "skipped a damaged checkpoint" in capfd.readouterr().err


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_run(tmp_path, capfd):
    (tmp_path / "file").write_text("no folder")
    Checkpoints(tmp_path / "file/checkpoints", 0.0).save(1, {})
    assert "no checkpoint after epoch 1: " in capfd.readouterr().err


def test_a_run_stops_shortly_before_the_time_of_its_job_is_up(monkeypatch):
    for left, reason in ((1000, None), (-10, "the end of the job's time")):
        end = time.time() + interruption.MARGIN + left
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(end)))
        assert Interruption().reason() == reason


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("2026-11-21T10:00:00", datetime(2026, 11, 21, 10).timestamp()), ("N/A", None), ("", None)],
)
def test_the_controller_is_asked_for_the_end_of_the_job(monkeypatch, tmp_path, answer, expected):
    """A program called squeue answers as SLURM's does."""
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho '{answer}'\n")
    squeue.chmod(0o755)
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert interruption.job_end() == expected
    monkeypatch.delenv("SLURM_JOB_ID")
    assert interruption.job_end() is None


def test_signals_are_noted_inside_the_block_and_have_their_old_meaning_after_it():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as listening:
        assert listening.reason() is None
        signal.raise_signal(signal.SIGTERM)
        assert listening.reason() == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before
