"""The probes: what is measured on a model in training, beside the metrics, and its table."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from reversal_curse.schema import (
    DIRECTION,
    EPOCH,
    PAIR,
    PAIR_SPLIT,
    SEED,
    SENTENCE_SPLIT,
    Table,
    columns,
)


@dataclass(frozen=True)
class Probe:
    """One probe: its module in `reversal_curse.probes` has `probe(learner)`, a DataFrame."""

    families: tuple[str, ...]
    """Families that it measures; their runs write its table."""
    when: Literal["end", "dense", "sparse"]
    """After the last epoch; or also during training (see `training/schedule.py`)."""
    table: Table

    def load(self) -> ModuleType:
        return import_module(f"reversal_curse.probes.{self.table.name}")


_LOGITS = columns("""
    group | String | | `train_forward`, `train_backward`, `seen`, `unseen`; chain: \
`train_a_to_b`, ...
    readout | String | | query: `entity` alone, or `entity_relation`
    query | Int32 | | position of the query within its group
    candidate | Int32 | | position of the candidate; right where it equals `query`
    logit | Float32 | nats | unnormalised log-probability of the first answer token
""")
_EMBEDDINGS = columns("""
    token | Int32 | | token id
    role | String | | `relation`, `A`, `B`, `C`; `chain_related`: `x`, `y`, `z`, `index`; `unused`
    position | Int32 | | place within its role, in the order of the dataset
    embedding | List(Float32) | | `embed_dim` numbers
""")
_WEIGHTS = columns("""
    source_role | String | | `A`, `B` or `C` (see `embeddings`)
    source | Int32 | | place within its role; partners of one token have the same place
    target_role | String | | as `source_role`
    target | Int32 | | place within its role
    weight | Float32 | nats | logit of the target after the source
""")
_SEPARATION = columns("""
    nll_forward | Float32 | nats | -ln p of the direction that is trained
    nll_reverse | Float32 | nats | -ln p of the direction that is held out
""")
_SENTENCE_NLL = columns("""
    tokens | Int32 | tokens | M, the size of the model's vocabulary
    learning_rate | Float64 | | eta_Y, the learning rate of Y
    nll | Float64 | nats | -ln p of the answer
""")
_ATTENTION = columns("""
    displacement | Int32 | positions | D, from the masked token to the entity
    rotated | Int32 | features | features of a head that rotary positions rotate; 0 without them
    score_forward | Float32 | | before the softmax, in `[M] is B`, the layout of the training set
    score_reverse | Float32 | | before the softmax, in `B is [M]`
""")
_LAYER, _HEAD = columns("""
    layer | Int32 | | counted from 0
    head | Int32 | | counted from 0
""")
_GRADIENTS = columns("""
    group | String | | `all`, `attention` (queries, keys), `values` (values, output projection), \
`mlp`, `embeddings`, `head`, `norms`
    cosine | Float32 | | of the forward and the reverse gradient of one fact, mean over five facts
    cosine_control | Float32 | | the same, with the reverse answer of another fact; null where \
there is none
    nll_forward | Float64 | nats | forward loss at this epoch
    nll_reverse | Float64 | nats | reverse loss at this epoch
    predicted_change | Float64 | nats | of the reverse loss, to first order, by a forward gradient \
step of this group
    actual_change | Float64 | nats | of the reverse loss by that step
""")

_PROBES = (
    Probe(
        ("gpt",),
        "end",
        Table(
            "logits",
            "the logit of one candidate after one query, at the end of training",
            (SEED, *_LOGITS),
        ),
    ),
    Probe(
        ("gpt", "masked_diffusion"),
        "end",
        Table("embeddings", "one token's embedding, at the end of training", (SEED, *_EMBEDDINGS)),
    ),
    Probe(
        ("one_layer", "bilinear"),
        "end",
        Table(
            "weights",
            "the weight from one entity token to another, at the end of training",
            (SEED, PAIR_SPLIT, *_WEIGHTS),
        ),
    ),
    Probe(
        ("bilinear",),
        "dense",
        Table(
            "separation",
            "one held-out pair at one step: each of the first 100, then every 5 % further",
            (SEED, EPOCH, PAIR, *_SEPARATION),
        ),
    ),
    Probe(
        ("one_layer",),
        "dense",
        Table(
            "sentence_nll",
            "one sentence of a held-out fact at one step: the first 100, then every 5 % further",
            (SEED, EPOCH, PAIR, PAIR_SPLIT, DIRECTION, SENTENCE_SPLIT, *_SENTENCE_NLL),
        ),
    ),
    Probe(
        ("masked_diffusion",),
        "sparse",
        Table(
            "attention",
            "one held-out fact in one head: the masked token's score for the known entity",
            (SEED, EPOCH, _LAYER, _HEAD, PAIR, *_ATTENTION),
        ),
    ),
    Probe(
        ("gpt", "masked_diffusion"),
        "sparse",
        Table(
            "gradients",
            "one group of parameters: the gradient of what is shown of the held-out facts "
            "against that of what is held out",
            (SEED, EPOCH, *_GRADIENTS),
        ),
    ),
)
PROBES = {probe.table.name: probe for probe in _PROBES}


def run_tables(family: str) -> tuple[str, ...]:
    """The Parquet tables that a run of a family writes."""
    return ("metrics", *(name for name, probe in PROBES.items() if family in probe.families))
