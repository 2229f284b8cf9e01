"""Estimate what training a grid point costs: a small model, fitted to measured runs.

A run has five kinds of work, which its family counts. Its seconds are the sum of each amount times
its price on the hardware. The CPU's prices are least-squares fits to the `wall_seconds` of the
default sweep's runs (`run.json`, by `benchmarks/calibrate.py`); the GPU's are guesses from data
sheets.
"""

from dataclasses import dataclass
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
    "cpu": Hardware("one CPU core of 2026", 0.95, 0.0, 2.82e-6, 1.46e-11, 4.16e-9),
    "gpu": Hardware("one H100 or H200, not calibrated", 3.0, 2e-4, 1e-9, 5e-14, 1.2e-11),
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
