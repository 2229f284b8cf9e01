"""Print the seconds per epoch of a grid point, evaluated every epoch, all metrics kept, as JSON.

python benchmarks/ours.py '{"layers": 1, "embed_dim": 20, "heads": 2}' 32
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import torch

from reversal_curse.config.settings import DEFAULTS, Settings, settle
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.training.execution import Machine, execution
from reversal_curse.training.gpus import training_device
from reversal_curse.training.loop import train


def measured(settings: Settings, device: torch.device) -> dict[str, float]:
    """Train a run of 4, 8, 16, ... epochs; time one epoch, the first two, and all with the start.

    The epochs timed are the second half but the last: probes come after 0, 1, 2, 4, ... epochs.
    """
    half, last = settings.epochs // 2, settings.epochs - 1
    ends: list[float] = []

    def note(epoch: int, loss: object) -> None:
        if device.type == "cuda" and epoch in (half, last):
            torch.cuda.synchronize(device)
        ends.append(time.perf_counter())

    started = time.perf_counter()
    train(settings, Dataset.of(generate_dataset(settings)), device, tell=note)
    return {
        "seconds": (ends[last] - ends[half]) / (last - half),
        "first": ends[2] - ends[0],
        "whole": time.perf_counter() - started,
    }


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    given, count = json.loads(sys.argv[1]), int(sys.argv[2])
    # Whether to compile is decided as for the 3000 epochs that the paper trains.
    device, values = training_device(), {**DEFAULTS, "eval_every": 1, **given}
    whole = execution(settle(values), Machine.of(device))
    how = {"compile": "always" if whole.compiled else "never", "epochs": count}
    with contextlib.redirect_stdout(sys.stderr):
        took = measured(settle(values | how), device)
    print(json.dumps({**took, "precision": whole.precision, "compiled": whole.compiled}))
