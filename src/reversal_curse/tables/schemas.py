"""The schemas of all Parquet tables, from which `results/README.md` is generated.

A paragraph describes a table: its name, what a row is, and a line for each column (name, type,
unit, meaning) or the names of columns that several tables share.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from reversal_curse.config.settings import ABOUT, NAMES, Settings
from reversal_curse.tables.table import Column, Table, read_columns, read_tables

_DTYPES: dict[Any, Any] = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}


def setting_column(name: str) -> Column:
    """Return the column of a setting; it is null if the setting means nothing to a grid point."""
    declared = Settings.model_fields[name]
    dtype = _DTYPES.get(declared.annotation, pl.String)
    return Column(name, dtype, ABOUT[name].unit, declared.description or "")


SHARED = read_columns("""
    run | String | | the grid point: its directory below `results/runs`
    seed | Int32 | | replica, counted from 0
    epoch | Int32 | epochs | passes over the training set so far; 0 is untrained
    pair | Int32 | | index of the pair (A, B) within its seed's dataset
    pair_split | String | | `train`: all directions shown; `validation`: one held out
    direction | String | | `forward` (A -> B), `backward` (B <- A); chain: \
`a_to_b`, `b_to_c`, `a_to_c`; `facts` with `exposure`: `c_to_a`, `b_to_d`; `two_hop`: `first`, \
`second`, `two_hop`; `relational`: the relation; `inverse`: `other` (A s C), `no_inverse` \
(C r' A); `added` by a remedy
    split | String | | `train`: in the training set; `unseen`: held out; `wrong`: not true
    layer | Int32 | | counted from 0
    head | Int32 | | counted from 0
    model | String | | its `name` in the config
    arm | String | | what fine-tuning adds to the forward statements, in words; or `none`
    kind | String | | `masked_diffusion`, `masked_lm` or `causal`
    stage | String | | `before` or `after` fine-tuning
    fact | Int32 | | row of the table of facts, from 0
    relation | Int32 | | index of its templates, from 0
""")

TABLES = read_tables(
    SHARED,
    """
dataset: one sentence of one seed
    seed, pair, pair_split, direction, split
    tokens | List(Int32) | | token ids; relation tokens come first: 0, 1, ...

metrics: one evaluation of one seed on one split
    seed, epoch
    split | String | | `train`, or `unseen` (never trained on); `inverse` has also `forward` (of \
facts trained in this order only) and `wrong` (a relation without an inverse, asked to invert)
    nll_token | Float32 | nats | mean -ln p of the first token of the answer
    nll_word | Float32 | nats | mean -ln p of the whole answer
    accuracy | Float32 | fraction | answers whose every token is the most probable
    echo | Float32 | fraction | queries whose most probable first token is an entity of the prompt
    nll_choice | Float32 | nats | mean -ln of the right answer's share of the candidates' p; the \
measures of choice are null where candidates are not read: if a model must read each by itself, in \
most evaluations and in `train`
    accuracy_choice | Float32 | fraction | answers that are the most probable candidate
    rank_choice | Float32 | fraction | other candidates that are less probable; chance is 0.5
    nll_set | Float32 | nats | mean -ln p of all candidates together: nll_word - nll_choice
    candidates | Float32 | | possible answers: those of all queries of its split and direction
    chance_choice | Float32 | nats | nll_choice of a guess: ln of `candidates`
    chance_accuracy | Float32 | fraction | accuracy_choice of a guess: 1 / `candidates`
    chance_vocab | Float32 | nats | uniform over the vocabulary, per token
    chance_class | Float32 | nats | uniform over the answer's class, per token

points: one grid point after its last epoch
    chance_vocab | Float64 | nats | uniform over the vocabulary, per token
    chance_class | Float64 | nats | uniform over the answer's class, per token
    last_epoch | Int32 | epochs | the epoch after which all this was measured
    seconds | Float64 | seconds | wall time of its training
    device | String | | `cpu` or `cuda`
    device_name | String | | as the system calls it
    trained_in | String | | `float32`, `bfloat16` (products) or `float64`
    torch | String | | version of PyTorch
    code | String | | digest of the modules and libraries that decided its numbers
    commit | String | | of the code; null outside version control

logits: the logit of one candidate after one query, at the end of training
    seed
    group | String | | `train_forward`, `train_backward`, `seen`, `unseen`; chain: \
`train_a_to_b`, ...
    readout | String | | query: `entity` alone, or `entity_relation`
    query | Int32 | | position of the query within its group
    candidate | Int32 | | position of the candidate; the right answer if it equals `query`
    logit | Float32 | nats | unnormalised log-probability of the first answer token

embeddings: one token's embedding, at the end of training
    seed
    token | Int32 | | token id
    role | String | | `relation`, `A`, `B`, `C`, `D`; `chain_related`: `x`, `y`, `z`, \
`index`; `unused`
    position | Int32 | | place within its role, in the order of the dataset
    embedding | List(Float32) | | `embed_dim` numbers

weights: the weight from one entity token to another, at the end of training
    seed, pair_split
    source_role | String | | `A`, `B` or `C` (see `embeddings`)
    source | Int32 | | place within its role; partners of one token have the same place
    target_role | String | | as `source_role`
    target | Int32 | | place within its role
    weight | Float32 | nats | logit of the target after the source

asymmetry: one held-out pair, asked in both directions: the answer's logit minus the mean of others
    seed, epoch, pair
    contrast_seen | Float32 | nats | after the question that is trained; others: the answers of \
all held-out pairs to the same kind of question; null where there are none
    contrast_unseen | Float32 | nats | after the question that is held out

separation: one held-out pair at one step: each of the first 100, then every 5 % further
    seed, epoch, pair
    nll_forward | Float32 | nats | -ln p of the direction that is trained
    nll_reverse | Float32 | nats | -ln p of the direction that is held out

sentence_nll: one sentence of a held-out fact at one step: the first 100, then every 5 % further
    seed, epoch, pair, pair_split, direction, split
    tokens | Int32 | tokens | M, the size of the model's vocabulary
    learning_rate | Float64 | | eta_Y, the learning rate of Y
    nll | Float64 | nats | -ln p of the answer

chain_of_thought: one triple: whether greedy answers reach C
    seed, epoch, pair, pair_split
    steps | Boolean | | by `A -> B'` and then `B' -> C'`, with the model's own B'
    leap | Boolean | | by `A ~> C'`

attention: one held-out fact in one head: the masked token's attention to the known entity
    seed, epoch, layer, head, pair
    displacement | Int32 | positions | D, from the masked token to the entity
    rotated | Int32 | features | features of a head that rotary positions rotate; 0 without them
    score_forward | Float32 | | before the softmax, in `[M] is B`, the layout of the training set
    score_reverse | Float32 | | before the softmax, in `B is [M]`
    weight_forward | Float32 | fraction | after the softmax, in `[M] is B`
    weight_reverse | Float32 | fraction | after the softmax, in `B is [M]`
    value_margin_forward | Float32 | | what the head writes for the answer if it attends to B \
alone, minus its mean for the other candidates; in `[M] is B`
    value_margin_reverse | Float32 | | the same in `B is [M]`
    value_rank_forward | Float32 | fraction | other candidates for which it writes less; chance \
is 0.5; null where there are none; in `[M] is B`
    value_rank_reverse | Float32 | fraction | the same in `B is [M]`

gradients: one group of parameters: gradients of shown against unseen sentences of held-out facts
    seed, epoch
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

pretrained_answers: one fact asked in one direction
    model, arm, kind
    seed | Int32 | | run of the fine-tuning, from 0; 0 before it
    stage
    direction | String | | `forward` (for the object) or `reverse`
    fact, relation
    tokens | Int32 | tokens | length of the answer
    nll | Float32 | nats per token | -ln p of the whole answer, over `tokens`
    nll_shuffled | Float32 | nats per token | the same for the answer of another fact of the \
relation; null where there is none
    exact | Boolean | | whether the greedy answer is right in every token
    echo | Boolean | | whether the greedy answer is the entity that the question names
    chance | Float32 | nats per token | ln of the size of the vocabulary
    nll_choice | Float32 | nats | -ln of the right answer's share of the candidates' p
    accuracy_choice | Float32 | fraction | whether it is the most probable candidate; ties share 1
    rank_choice | Float32 | fraction | other candidates that are less probable, chance is 0.5; \
null where there is none
    nll_set | Float32 | nats | -ln p of all candidates together: tokens * nll - nll_choice
    candidates | Int32 | | possible answers: those of the relation, at most 25
    chance_choice | Float32 | nats | nll_choice of a guess: ln of `candidates`
    chance_accuracy | Float32 | fraction | accuracy_choice of a guess: 1 / `candidates`

pretrained_scores: one fact in one head: the masked subject's score for the known object
    model, arm, kind
    seed | Int32 | | run of the fine-tuning, from 0; 0 before it
    stage, layer, head, fact, relation
    tokens | Int32 | tokens | length of the subject, which is masked
    displacement_forward | Int32 | positions | from the first masked token to the object's first, \
in the forward sentence
    displacement_reverse | Int32 | positions | in the reverse one; negative
    score_forward | Float32 | | before the softmax, forward sentence
    score_reverse | Float32 | | before the softmax, reverse sentence

pretrained_gradients: one group of parameters: forward against reverse gradient
    model, arm, kind
    seed | Int32 | | run of the fine-tuning, from 0; 0 before it
    stage
    group | String | | `all`, `attention` (queries, keys), `values` (values, output), `fused` \
(queries, keys and values in one matrix), `mlp`, `embeddings`, `head`, `norms`, `other`
    cosine | Float32 | | of the forward and the reverse gradient of one fact, mean over at most five
    cosine_control | Float32 | | the same, with the reverse answer of another fact; null where \
there is none
    nll_forward | Float64 | nats per token | forward loss, mean over facts
    nll_reverse | Float64 | nats per token | reverse loss, mean over facts
    predicted_change | Float64 | nats per token | of the reverse loss, to first order, by a \
forward gradient step of this group
    actual_change | Float64 | nats per token | by that step; null where the weights are too \
coarse for it (not float32)

claims: one claim
    id | String | | name of the claim
    kind | String | | `evidence`, or a `check` that is true by construction
    paper | String | | which paper says it (see the ledger), and where
    statement | String | | what the paper says, in our words
    grid | String | | sweeps that it was judged on, and what varies in them
    figure | String | | a figure of the config that shows it
    measures | String | | what the effect is, with its unit
    threshold | Float64 | as `effect` | the claim holds if the effect is above this
    threshold_below | Float64 | as `effect` | and below this
    effect | Float64 | see `measures` | mean over seeds at the least favourable grid point
    ci_low | Float64 | as `effect` | lower end of its 95 % interval (Student's t)
    ci_high | Float64 | as `effect` | upper end of its 95 % interval
    median | Float64 | as `effect` | median over seeds
    n_seeds | Int32 | | seeds behind the interval: those that can be judged
    n_reaching | Int32 | | of these, seeds whose own effect meets the threshold
    n_points | Int32 | | grid points at which the claim must hold
    n_left_out | Int32 | | effects (seed, or seed at a grid point) that do not count
    p_value | Float64 | | chance of so clear a verdict if the truth were at the threshold
    p_holm | Float64 | | the same for all evidence of the ledger together (Holm 1979)
    verdict | String | | `supported`, `contradicted`, `inconclusive` or `not tested`
    reason | String | | why it was not tested; else null
""",
)
_KEYS = ("seed", "epoch", "split", "chance_vocab", "chance_class")
MEASURED = [column for column in TABLES["metrics"].columns if column.name not in _KEYS]
_LAST = [
    Column(f"{split}_{m.name}{end}", pl.Float64, m.unit, f"{split} split, {what}: {m.description}")
    for split in ("train", "unseen")
    for m in MEASURED
    for end, what in (("", "mean over seeds"), ("_sd", "standard deviation over seeds"))
]
_EVERY = (*map(setting_column, NAMES), SHARED["run"], *_LAST, *TABLES["points"].columns)
TABLES["points"] = replace(TABLES["points"], columns=_EVERY)
PRETRAINED_TABLES = {
    name.removeprefix("pretrained_"): table
    for name, table in TABLES.items()
    if name.startswith("pretrained_")
}


def gathered(table: Table, settings: Sequence[str] = NAMES) -> Table:
    """Return the schema of a table over runs: first `settings` and `run`, then its own columns."""
    before = (*map(setting_column, settings), SHARED["run"])
    return replace(table, columns=(*before, *table.columns))
