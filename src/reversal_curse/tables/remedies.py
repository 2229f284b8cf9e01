"""Remedies against the curse: what each changes, against the same grid point without one."""

from typing import Any

import polars as pl

from reversal_curse.config.settings import ABOUT, DEFAULTS, NAMES, settings_of
from reversal_curse.tables.summaries import final_by_seed
from reversal_curse.tasks import TASKS

KINDS = {name: about.remedy for name, about in ABOUT.items() if about.remedy}
"""The kind of remedy that a setting is: `data`, `objective`, `architecture` or `optimisation`."""
_FREE = ("learning_rate", "learning_rate_z", "momentum", "beta1", "beta2", "epochs", "eval_every")
CONDITIONS = [name for name in NAMES if name not in (*KINDS, *_FREE, "precision", "compile")]
"""The settings that a grid point has in common with the one that it is compared with. Rates and
epochs are none of them: an optimizer needs its own."""
MEASURES = {
    "said": "unseen_accuracy",
    "known": "unseen_accuracy_choice",
    "rank": "unseen_rank_choice",
    "echo": "unseen_echo",
    "forward": "forward_accuracy",
    "wrong": "wrong_accuracy",
}
"""What the bench measures, by its columns of `final_by_seed`."""


def bench(metrics: pl.DataFrame) -> pl.DataFrame:
    """Return the MEASURES of every grid point and seed after training, and what they were without.

    The columns are those of `final_by_seed`; `kind`, of the remedies that a grid point has,
    joined by ` + `, or `none`; the MEASURES; `none_MEASURE`, the same seed's without a remedy, null
    where there is no such grid point, of the first where there are several; `sentences`, in the
    training set of a seed, and `none_sentences`.
    """
    final = final_by_seed(metrics).with_columns(
        **{name: pl.col(column) for name, column in MEASURES.items()}
    )
    points = final.unique("run", maintain_order=True)
    about = pl.DataFrame([_describe(row) for row in points.iter_rows(named=True)])
    about = points.select("run").hstack(about)
    final = final.join(about, on="run", how="left", maintain_order="left")
    numbers = [*MEASURES, "sentences"]
    keys = [*CONDITIONS, "compared", "seed"]
    none = final.filter(kind="none").unique(keys, keep="first")
    none = none.select(*keys, pl.col(numbers).name.prefix("none_"))
    return final.join(none, on=keys, how="left", nulls_equal=True, maintain_order="left")


def _describe(row: dict[str, Any]) -> dict[str, Any]:
    """Find the kind of a grid point's remedies, the family compared with, and the sentences."""
    settings, own = settings_of(row), {}
    if row["family"] != "masked_diffusion":  # the others are no remedy, but models of their own
        own = {"family": DEFAULTS["family"]}
    values = vars(settings) | own
    kinds = dict.fromkeys(kind for name, kind in KINDS.items() if values[name] != DEFAULTS[name])
    return {
        "kind": " + ".join(kinds) or "none",
        "compared": row["family"] if own else DEFAULTS["family"],
        "sentences": TASKS[settings.task].sentences(settings),
    }
