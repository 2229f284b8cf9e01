"""Fit the prices of `hardware.json` to measured runs, and say how well they predict other runs.

    python benchmarks/calibrate.py results/runs cpu > tests/unit/measured_runs.json

Prints the runs as JSON, and prices and errors to standard error.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from reversal_curse.config.cost import HARDWARE, seconds
from reversal_curse.config.settings import DEFAULTS, Settings, settle
from reversal_curse.families import FAMILIES
from reversal_curse.jobs.progress import DEVICES

PRICES = ("start", "launch", "token", "product", "weight")


def fitted(amounts: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Fit prices, none negative, by least squares of the relative errors."""
    relative = amounts / measured[:, None]
    scale = np.linalg.norm(relative, axis=0)
    scale[scale == 0] = 1.0
    kept = list(range(amounts.shape[1]))
    while True:
        found = np.linalg.lstsq(relative[:, kept] / scale[kept], np.ones(len(measured)))[0]
        if (found >= 0).all():
            break
        kept.pop(int(np.argmin(found)))
    prices = np.zeros(amounts.shape[1])
    prices[kept] = found / scale[kept]
    return prices


def within(ratio: np.ndarray, factor: float = 1.5) -> float:
    """Return the fraction of ratios from 1 / `factor` to `factor`."""
    return float(np.mean((ratio <= factor) & (ratio >= 1 / factor)))


def amounts_of(settings: Settings) -> tuple[float, ...]:
    """Return how much a run uses of everything that has a price, in the order of `PRICES`."""
    work = FAMILIES[settings.family].work(settings)
    return 1.0, work.launches, work.tokens, work.products, work.weights


def main(folder: str, hardware: str) -> None:
    """Read the runs, fit the prices and print both."""
    records = [json.loads(path.read_text()) for path in sorted(Path(folder).rglob("run.json"))]
    records = [record for record in records if record["device"] == DEVICES[hardware]]
    # Settings recorded as null do not apply to the run.
    given = [{k: v for k, v in r["settings"].items() if v is not None} for r in records]
    settings = [settle(DEFAULTS | one) for one in given]
    measured = np.array([record["wall_seconds"] for record in records])
    amounts = np.array([amounts_of(one) for one in settings])
    even = np.arange(len(records)) % 2 == 0
    halves = [fitted(amounts[part], measured[part]) for part in (even, ~even)]
    foretold = np.where(even, amounts @ halves[1], amounts @ halves[0])
    prices = fitted(amounts, measured)
    names = dict(zip(PRICES, prices.tolist(), strict=True))
    entry = asdict(replace(HARDWARE[hardware], **names))
    print(json.dumps({hardware: entry}, indent=2), file=sys.stderr)
    shipped = np.array([seconds(one, hardware) for one in settings])
    for label, estimate in (
        ("fitted to all", amounts @ prices),
        ("fitted to the other half", foretold),
        ("as in hardware.json", shipped),
    ):
        print(f"{label}: {within(estimate / measured):.2f} within 1.5", file=sys.stderr)
    rows = [
        {"settings": one.model_dump(exclude_defaults=True), "seconds": float(took)}
        for one, took in zip(settings, measured, strict=True)
    ]
    print(json.dumps({"hardware": hardware, "runs": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
