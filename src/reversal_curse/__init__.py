"""The reversal curse, measured: tasks, models, training, probes and figures.

In a notebook:

    import reversal_curse as rc
    run = rc.train(family="gpt", layers=1, heads=1, embed_dim=20, epochs=50, seeds=2)
    run.metrics                # a polars table, with all settings as columns
    rc.draw("curves", run)     # a matplotlib Figure
"""

from typing import Any

from reversal_curse.version import VERSION as __version__

__all__ = ["Run", "__version__", "draw", "load", "train"]


def __getattr__(name: str) -> Any:
    """Load the notebook's functions only when asked for: the Snakefile needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reversal_curse import notebook

    return getattr(notebook, name)
