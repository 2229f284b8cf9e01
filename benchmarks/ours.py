"""Print the seconds per epoch of a grid point, evaluated every epoch, all metrics kept, as JSON.

python benchmarks/ours.py '{"layers": 1, "embed_dim": 20, "heads": 2}' 20
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import torch

from reversal_curse.config.settings import DEFAULTS, Settings, settle
from reversal_curse.families import FAMILIES
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.training.execution import Machine, execution
from reversal_curse.training.gpus import training_device
from reversal_curse.training.observer import Observer

WARM_UP = 2


def seconds_per_epoch(settings: Settings, epochs: int) -> tuple[float, float]:
    """Time an epoch of training and evaluation, without probes; and the first two epochs."""
    dataset = Dataset.of(generate_dataset(settings))
    device = training_device()
    training = FAMILIES[settings.family].load_start()(settings, dataset, device)
    observer = Observer(training.learner, training.measure)
    observer.probes = {}
    begun = started = time.perf_counter()
    for epoch in range(WARM_UP + epochs):
        if epoch == WARM_UP:
            if device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
        training.epoch()
        observer.observe(epoch)
    observer.tables()
    return (time.perf_counter() - started) / epochs, started - begun


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    given, count = json.loads(sys.argv[1]), int(sys.argv[2])
    # Whether to compile is decided as for the 3000 epochs that the paper trains.
    machine = Machine.of(training_device())
    whole = execution(settle({**DEFAULTS, "eval_every": 1, **given}), machine)
    values = {**DEFAULTS, "epochs": count + WARM_UP, "eval_every": 1, **given}
    chosen = settle({**values, "compile": "always" if whole.compiled else "never"})
    with contextlib.redirect_stdout(sys.stderr):
        took, first = seconds_per_epoch(chosen, count)
    how = {"precision": whole.precision, "compiled": whole.compiled}
    print(json.dumps({"seconds": took, "first": first, **how}))
