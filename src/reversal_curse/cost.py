"""What training a grid point costs, before it is paid: a small model, fitted to measured runs.

A run's seconds are a sum of five kinds of work, each with the hardware's own price. The prices
of the CPU are least-squares fits to the `wall_seconds` of the default sweep's runs (`run.json`, by
`tests/benchmarks/calibrate.py`); those of the GPU are guesses from data sheets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reversal_curse.registry import MASKINGS, TASKS
from reversal_curse.settings import Settings


@dataclass(frozen=True)
class Hardware:
    """Seconds for one unit of each kind of work."""

    description: str
    start: float
    """A run: reading, probing, writing."""
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


def seconds(settings: Settings, hardware: str) -> float:
    """Estimated seconds to train all seeds of a grid point."""
    price = HARDWARE[hardware]
    launches, tokens, products, weights = work(settings)
    return (
        price.start
        + price.launch * launches
        + price.token * tokens
        + price.product * products
        + price.weight * weights
    )


def work(settings: Settings) -> tuple[float, float, float, float]:
    """Launches, tokens through layers, operations in products, parameters times steps."""
    task = TASKS[settings.task]
    sentences, length = task.sentences(settings), task.length(settings)
    words, d, seeds = task.vocabulary(settings), settings.embed_dim, settings.seeds
    epochs = settings.epochs
    if settings.family == "one_layer":
        return epochs, 0, 0, epochs * seeds * words**2
    if settings.family == "bilinear":
        return epochs, 0, 4 * epochs * seeds * sentences * words * d, epochs * seeds * d**2
    steps = epochs * math.ceil(sentences / settings.batch_size)
    # An evaluation costs a third of training on the same sentences: it goes forward only.
    passes = epochs + epochs / settings.eval_every / 3
    asked = asked_tokens(settings)
    # Of the last block only keys and values, a quarter of it, are needed at all tokens.
    through = (settings.layers - 1) * length + length / 4 + asked * 3 / 4
    tokens = seeds * sentences * passes * through
    block = 12 * d * d
    products = 6 * (tokens * block + seeds * sentences * passes * asked * d * words)
    weights = steps * seeds * (settings.layers * block + 2 * words * d)
    return steps * settings.layers, tokens, products, weights


def asked_tokens(settings: Settings) -> int:
    """Tokens of a sentence whose prediction training needs, for the families of transformers."""
    task = TASKS[settings.task]
    length = task.length(settings)
    if settings.family == "gpt":
        return task.answer_length(settings) if settings.loss_on == "answer" else length
    masked = MASKINGS[settings.masking].masked
    return masked(length, settings.entity_length) if masked else length
