"""Estimate what training a grid point costs: a small model, fitted to measured runs.

A run has five kinds of work, which its family counts. Its seconds are the sum of each amount times
its price on the hardware, in `hardware.json`. The CPU's prices are least-squares fits to the
`wall_seconds` of the default sweep's runs (`run.json`, by `benchmarks/calibrate.py`); the GPU's are
guesses from data sheets until `make test-gpu` has measured one.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reversal_curse.families import FAMILIES


@dataclass(frozen=True)
class Hardware:
    """Seconds for one unit of each kind of work."""

    description: str
    start: float
    """Reading, probing and writing, once for a whole run."""
    launch: float
    """One layer in one step, whatever its size."""
    token: float
    """One token in one layer."""
    product: float
    """One floating-point operation of a matrix product."""
    weight: float
    """One parameter in one step: gradient, AdamW, memory."""


HARDWARE = {
    name: Hardware(**prices)
    for name, prices in json.loads(Path(__file__).with_name("hardware.json").read_text()).items()
}


def seconds(settings: Any, hardware: str) -> float:
    """Estimate the seconds to train all seeds of a grid point."""
    price, work = HARDWARE[hardware], FAMILIES[settings.family].work(settings)
    return (
        price.start
        + price.launch * work.launches
        + price.token * work.tokens
        + price.product * work.products
        + price.weight * work.weights
    )
