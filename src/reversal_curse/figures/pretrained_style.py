"""What the figures of pretrained models share: their order, colours and labels."""

from __future__ import annotations

import polars as pl

KIND_COLOURS = {"masked_diffusion": "#0072B2", "masked_lm": "#009E73", "causal": "#D55E00"}
KIND_NAMES = {
    "masked_diffusion": "masked diffusion",
    "masked_lm": "masked language model",
    "causal": "autoregressive",
}


def models_of(table: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """Name, kind and rows of every model: by kind, then as the config lists them."""
    parts = table.partition_by("model", maintain_order=True)
    found = [(part["model"][0], part["kind"][0], part) for part in parts]
    return sorted(found, key=lambda model: list(KIND_COLOURS).index(model[1]))


def in_two_lines(name: str) -> str:
    """A long name, broken at an underscore near its middle."""
    breaks = [i for i, letter in enumerate(name) if letter == "_"]
    if len(name) <= 12 or not breaks:
        return name
    middle = min(breaks, key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}\n{name[middle + 1 :]}"
