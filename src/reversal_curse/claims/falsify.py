"""Try to falsify the ledger: permute labels in finished tables, and judge again.

A claim is evidence only if its verdict depends on what it asserts. Each permutation destroys one
thing that claims assert, and keeps the numbers; a claim that none of them moves is a check.
"""

from collections.abc import Callable, Iterator
from functools import partial

import polars as pl

from reversal_curse.claims.claim import Claim, Tables
from reversal_curse.claims.judgement import CONTRADICTED, NOT_TESTED, SUPPORTED, judge
from reversal_curse.claims.ledger import claims_with_tables
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import MEASURED

LEAPS = ("validation_a_to_b", "validation_a_to_c")
SWAPPED = (
    ("direction", "forward", "reverse"),
    ("group", "seen", "unseen"),
    ("group", *LEAPS),
    ("kind", "masked_diffusion", "causal"),
)
"""Columns, and two labels in them that change places."""
EXCHANGED = (("nll_forward", "nll_reverse"), ("score_forward", "score_reverse"), ("steps", "leap"))
CONTROLS = (("cosine", "cosine_control"), ("nll", "nll_shuffled"))
"""Columns that change places."""
SPLITS = (("unseen", "train"), ("train", "unseen"), ("forward", "wrong"), ("wrong", "forward"))
"""Splits, and the split whose numbers they get."""
OF_FACT = {
    "candidate": ["seed", "group", "readout", "query"],
    "target": ["run", "seed", "source_role", "source", "target_role"],
    "score_reverse": ["run", "seed", "epoch", "layer", "head"],
}
"""Columns that are shifted by one fact, within these keys."""
CHANCES = {
    "nll_token": pl.col("chance_class"),
    "nll_word": pl.col("chance_class"),
    "accuracy": (-pl.col("chance_class")).exp(),
    "accuracy_choice": pl.col("chance_accuracy"),
    "echo": (-pl.col("chance_class")).exp(),
    "rank_choice": pl.lit(0.5),
    "value_rank_reverse": pl.lit(0.5),
}
"""What a guess gets, by measure."""


def permutations(claim: Claim, tables: Tables) -> Iterator[tuple[str, Tables]]:
    """Yield the name of what is destroyed, and the tables without it."""
    # Family, positions, masking, ...: each value has another's results.
    changes: dict[str, Callable] = {name: partial(_next_value, name) for name in claim.varies}
    changes |= {"direction": _other_direction, "partners": _other_partners}
    for split, other in SPLITS:
        changes[f"{split} as {other}"] = partial(_as_other, split, other)
        changes[f"{split} against chance"] = partial(_by_chance, split)
    for what, change in changes.items():
        yield what, {name: change(name, table) for name, table in tables.items()}


def _next_value(setting: str, name: str, table: pl.DataFrame) -> pl.DataFrame:
    values = table[setting].unique().sort().to_list()
    return table.with_columns(pl.col(setting).replace(values, values[1:] + values[:1]))


def _exchange(table: pl.DataFrame, pairs: tuple) -> pl.DataFrame:
    found = [pair for pair in pairs if {*pair} <= {*table.columns}]
    return table.rename({x: y for a, b in found for x, y in ((a, b), (b, a))})


def _other_direction(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Swap what was trained and what was held out."""
    pairs = [("pair_split", "train", "validation")] if name == "weights" else []
    for column, a, b in (*SWAPPED, *pairs):
        if column in table.columns:
            table = table.with_columns(pl.col(column).replace([a, b], [b, a]))
    return _exchange(table, EXCHANGED)


def _other_partners(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Give each fact the answer, score or gradient of another."""
    shifted = [
        pl.col(column).shift(1).fill_null(pl.col(column).last()).over(keys)
        for column, keys in OF_FACT.items()
        if {column, *keys} <= {*table.columns}
    ]
    return _exchange(table.with_columns(shifted), CONTROLS)


def _as_other(split: str, other: str, name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Give a split the numbers of the other one, as if its directions had changed places."""
    if name == "sentence_nll":
        relabelled = table.filter(split=other).with_columns(split=pl.lit(split))
        return pl.concat((table.filter(split=other), relabelled))
    if name == "logits" and split == "unseen":
        seen = table.filter(pl.col("group").is_in(["seen", LEAPS[0]]))
        others = table.filter(~pl.col("group").is_in(["unseen", LEAPS[1]]))
        renamed = pl.col("group").replace(["seen", LEAPS[0]], ["unseen", LEAPS[1]])
        return pl.concat((others, seen.with_columns(renamed)))
    if "nll_reverse" in table.columns and split == "unseen":
        return table.with_columns(nll_reverse="nll_forward")
    if name != "metrics":
        return table
    keys, measured = ["run", "seed", "epoch"], [column.name for column in MEASURED]
    theirs = table.filter(split=other).select(*keys, *measured)
    ours = table.filter(split=split).drop(measured)
    mended = ours.join(theirs, on=keys).select(table.columns)
    return pl.concat((table.filter(pl.col("split") != split), mended))


def _by_chance(split: str, name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Put every measure of a split at its chance level."""
    here = pl.col("split") == split if "split" in table.columns else pl.lit(split == "unseen")
    chances = {"nll": pl.col("tokens").log()} if name == "sentence_nll" else CHANCES
    found = {column: level for column, level in chances.items() if column in table.columns}
    levels = {c: pl.when(here).then(level).otherwise(pl.col(c)) for c, level in found.items()}
    return table.with_columns(**levels)


def falsify(config: Config, runs: Runs) -> None:
    """Print a line per claim: its verdict, and what had to be destroyed to change it.

    Raises UserError if a verdict on evidence stands whatever is destroyed.
    """
    lines, standing = [], []
    for name, claim, _, tables in claims_with_tables(config, runs):
        verdict = judge(claim, tables).verdict if tables else ""
        if verdict not in (SUPPORTED, CONTRADICTED):
            continue
        found = ((what, judge(claim, t).verdict) for what, t in permutations(claim, tables))
        # What leaves nothing to judge does not speak against a claim.
        moved = [what for what, other in found if other not in (verdict, NOT_TESTED)]
        if not moved and not claim.check:
            standing.append(name)
        kind = "check   " if claim.check else "evidence"
        lines.append(f"{name:32} {kind} {verdict:12} {', '.join(moved) or 'nothing'}")
    print("claim                            kind     verdict      changed by destroying")
    print("\n".join(lines))
    if standing:
        raise UserError(f"called evidence, and nothing changes them: {', '.join(standing)}")
