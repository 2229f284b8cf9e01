"""Which GPU a process takes."""

import os
import subprocess
import sys

import pytest

from reversal_curse.config.errors import UserError
from reversal_curse.training.gpus import claim, count_gpus

CLAIM_AND_WAIT = """
import sys
from pathlib import Path
from reversal_curse.training.gpus import claim
index, file = claim(["first", "second"], Path(sys.argv[1]))
print(index, file is not None, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that claims a GPU and waits; return it and what it printed."""
    processes = []

    def begin() -> tuple[subprocess.Popen, str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", CLAIM_AND_WAIT, str(tmp_path)]
        processes.append(subprocess.Popen(command, **pipes))
        return processes[-1], processes[-1].stdout.readline().strip()

    yield begin
    for process in processes:
        process.communicate("\n")


def test_processes_take_one_gpu_each_and_share_when_all_are_taken(start):
    """A GPU is free again however its process ended."""
    (first, told_first), (_, told_second), (_, told_third) = (start() for _ in range(3))
    assert (told_first, told_second) == ("0 True", "1 True")
    assert told_third in ("0 False", "1 False")
    first.kill()
    first.wait()
    assert start()[1] == "0 True"


def test_a_gpu_is_claimed_as_long_as_the_file_is_open(start, tmp_path):
    index, file = claim(["first", "second"], tmp_path)
    assert index == 0
    assert start()[1] == "1 True"
    file.close()
    assert claim(["first", "second"], tmp_path)[0] == 0


def _link(path) -> None:
    path.rmdir()
    path.symlink_to(path.parent, target_is_directory=True)


@pytest.mark.parametrize(
    "spoil",
    [
        _link,
        lambda path: path.chmod(0o770),
        lambda path: (path.rmdir(), path.touch(0o600)),
        pytest.param(
            lambda path: os.chown(path, 12345, 12345),
            marks=pytest.mark.skipif(os.getuid() != 0, reason="needs root"),
        ),
    ],
    ids=["a link", "open to others", "a file", "of another user"],
)
def test_a_folder_that_others_could_write_to_is_refused(tmp_path, spoil):
    folder = tmp_path / "locks"
    folder.mkdir(mode=0o700)
    spoil(folder)
    with pytest.raises(UserError, match="locks: must be a folder that only you can open, got "):
        claim(["first"], folder)


def test_locks_empty_no_file_and_follow_no_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "first.lock").symlink_to(victim)
    with pytest.raises(OSError, match=r"first\.lock"):
        claim(["first"], tmp_path)
    (tmp_path / "second.lock").write_text("kept")
    claim(["second"], tmp_path)
    assert victim.read_text() == (tmp_path / "second.lock").read_text() == "kept"


@pytest.mark.parametrize(
    ("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,1", 2), ("GPU-12ab, GPU-34cd", 2)]
)
def test_visible_devices_are_counted(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count


def test_gpus_that_nvidia_smi_lists_are_counted_and_none_without_it(monkeypatch, nvidia_smi):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for path, count in ((f"{nvidia_smi}:{os.environ['PATH']}", 2), (str(nvidia_smi / "none"), 0)):
        monkeypatch.setenv("PATH", path)
        assert count_gpus() == count
