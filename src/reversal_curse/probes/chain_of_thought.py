"""Two-step chains of thought: `A -> B'`, then `B' -> C'`, against the leap `A ~> C'`.

Zhu et al. 2024, section 5: a model that cannot leap can still go step by step.
"""

import polars as pl
import torch

from reversal_curse.models.learner import Learner
from reversal_curse.tables.schemas import TABLES

WHEN = "sparse"


def probe(learner: Learner) -> pl.DataFrame:
    """Tell for every triple which way of asking gives C; no rows if a task has no triples.

    The second step starts from the model's own B'.
    """
    first, second, leap = (
        learner.sentences(pl.col("direction") == direction)
        for direction in ("a_to_b", "b_to_c", "a_to_c")
    )
    if not first.shape[1]:
        return TABLES["chain_of_thought"].empty()
    own = torch.cat((_answered(learner, first), second[:, :, learner.answer_length :]), dim=-1)
    found = {
        name: (_answered(learner, asked) == _answers(learner, second)).all(-1).flatten().tolist()
        for name, asked in (("steps", own), ("leap", leap))
    }
    triples = learner.dataset.table.filter(direction="a_to_c").select("seed", "pair", "pair_split")
    return triples.with_columns(pl.Series(name, right) for name, right in found.items())


def _answers(learner: Learner, sentences: torch.Tensor) -> torch.Tensor:
    return sentences[:, :, -learner.answer_length :]


def _answered(learner: Learner, sentences: torch.Tensor) -> torch.Tensor:
    """Answer sentences (S, N, T) greedily, token by token, in place of their answers: (S, N, k)."""
    said = sentences.clone()
    for place in range(-learner.answer_length, 0):
        said[:, :, place] = learner.ask(said)[:, :, place].argmax(-1)
    return _answers(learner, said)
