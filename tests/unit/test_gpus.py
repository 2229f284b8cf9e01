"""Which GPU a process takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reversal_curse.training.gpus import claim, count_gpus

NAMES = ["first", "second"]
CLAIM_AND_WAIT = """
import sys
from pathlib import Path
from reversal_curse.training.gpus import claim
index, file = claim(["first", "second"], Path(sys.argv[1]))
print(index, file is not None, flush=True)
sys.stdin.readline()
"""


def start(folder: Path) -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_WAIT, str(folder)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    return process, process.stdout.readline().strip()


def test_processes_take_one_each_and_share_when_all_are_taken(tmp_path):
    first, told_first = start(tmp_path)
    second, told_second = start(tmp_path)
    third, told_third = start(tmp_path)
    assert (told_first, told_second) == ("0 True", "1 True")
    assert told_third in ("0 False", "1 False")
    first.kill()
    first.wait()
    fourth, told_fourth = start(tmp_path)
    assert told_fourth == "0 True"  # it is free again, however its process ended
    for process in (second, third, fourth):
        process.communicate("\n")


def test_a_claim_lasts_as_long_as_its_file(tmp_path):
    index, file = claim(NAMES, tmp_path)
    assert index == 0
    assert start(tmp_path)[1] == "1 True"
    file.close()
    assert claim(NAMES, tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,1", 2), ("GPU-12ab, GPU-34cd", 2)]
)
def test_visible_devices_are_counted(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count


def test_all_that_nvidia_lists_are_counted(monkeypatch, nvidia_smi):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{nvidia_smi}{os.pathsep}{os.environ['PATH']}")
    assert count_gpus() == 2


def test_without_nvidia_there_are_none(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_gpus() == 0
