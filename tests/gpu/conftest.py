"""The checks that a GPU must pass, in stages, each of which adds its numbers to a report.

`make test-gpu` runs them on a GPU. Without one, and in `make test`, the same code runs on the CPU
with tiny shapes.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from report import Report, Stage, head

from reversal_curse.training.gpus import training_device
from reversal_curse.training.memory import release_memory
from small_runs import CPU

ALL = 510.0
"""Seconds that the stages may take on a GPU, all together: nine minutes without the start."""
REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser):
    parser.addoption("--gpu-device", choices=("cpu", "cuda"), default="cpu")
    parser.addoption("--gpu-report", type=Path, help="folder for report.json and report.md")


def pytest_configure(config):
    config.addinivalue_line("markers", "stage(seconds): a stage, and its planned time on a GPU")


@pytest.fixture(scope="session")
def device(request) -> torch.device:
    """The device that is tested: the CPU, if no GPU was asked for."""
    asked = request.config.getoption("gpu_device", "cpu")
    return training_device() if asked == "cuda" else CPU


@pytest.fixture(scope="session")
def at_scale(device):
    """Choose between what is tiny, for a CPU, and what a GPU is asked to do."""
    return lambda tiny, real: real if device.type == "cuda" else tiny


@pytest.fixture(scope="session")
def environment(device) -> dict[str, str]:
    """The environment of programs that must train on the tested device."""
    hidden = {} if device.type == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    return os.environ | hidden | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@pytest.fixture(scope="session")
def report(request, device, tmp_path_factory) -> Report:
    """The report of this session, with all stages that were chosen."""
    folder = request.config.getoption("gpu_report", None) or tmp_path_factory.mktemp("report")
    marks = {words(item): item.get_closest_marker("stage") for item in request.session.items}
    stages = {name: Stage(mark.kwargs["seconds"]) for name, mark in marks.items() if mark}
    made = request.config.stash[REPORT] = Report(folder, head(device), stages)
    made.write()
    return made


@pytest.fixture(scope="session")
def started(report) -> float:
    return time.monotonic()


@pytest.fixture
def stage(request, report, started, device):
    """What the report says of this test; on a GPU it must keep to its time and to that of all."""
    found = report.stages[words(request.node)]
    if device.type == "cuda":
        left = ALL - (time.monotonic() - started)
        if found.planned > left:
            pytest.skip(f"{left:.0f} of {ALL:.0f} s are left")
        release_memory()
        signal.signal(signal.SIGALRM, _too_late)
        signal.alarm(round(min(max(30, 2 * found.planned), left)))  # the first one starts CUDA
    yield found
    signal.alarm(0)


def words(item) -> str:
    """Name a stage by its test, in words."""
    return item.name.removeprefix("test_").replace("_", " ")


def _too_late(number, frame):
    raise TimeoutError("took twice as long as planned, or the time of all stages is up")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add the outcome of a stage to the report, which is written anew, and say it in a line."""
    outcome = yield
    report = item.config.stash.get(REPORT, None)
    found = report and report.stages.get(words(item))
    if not found or (call.when == "teardown" or (call.when == "setup" and outcome.passed)):
        return outcome
    found.seconds += call.duration
    found.result = {"passed": "pass", "failed": "FAIL", "skipped": "not run"}[outcome.outcome]
    if call.excinfo:
        found.notes.append(str(call.excinfo.value).split("\n")[0])
    report.write()
    terminal = item.config.pluginmanager.get_plugin("terminalreporter")
    if terminal and item.config.getoption("gpu_report"):
        terminal.ensure_newline()
        terminal.write_line(found.line(words(item)))
    return outcome
