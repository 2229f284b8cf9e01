"""The tables that a probed pretrained model writes."""

from reversal_curse.schema import Table, columns

_STATE = """
    model | String | | its `name` in the config
    kind | String | | `masked_diffusion`, `masked_lm` or `causal`
    seed | Int32 | | run of the fine-tuning, from 0; 0 before it
    stage | String | | `before` or `after` fine-tuning on forward statements
"""
_FACT = """
    fact | Int32 | | row of the table of facts, from 0
    relation | Int32 | | which templates, from 0
"""
_ANSWERS = f"""{_STATE.rstrip()}
    direction | String | | `forward` (for the object) or `reverse`{_FACT.rstrip()}
    tokens | Int32 | tokens | length of the answer
    nll | Float32 | nats per token | -ln p of the whole answer, over `tokens`
    nll_shuffled | Float32 | nats per token | the same for the answer of another fact of the \
relation; null where there is none
    exact | Boolean | | whether the greedy answer is right in every token
    chance | Float32 | nats per token | ln of the size of the vocabulary
"""
_SCORES = f"""{_STATE.rstrip()}
    layer | Int32 | | counted from 0
    head | Int32 | | counted from 0{_FACT.rstrip()}
    tokens | Int32 | tokens | length of the subject, which is masked
    displacement_forward | Int32 | positions | from the first masked token to the object's first, \
in the forward sentence
    displacement_reverse | Int32 | positions | in the reverse one; negative
    score_forward | Float32 | | before the softmax, forward sentence
    score_reverse | Float32 | | before the softmax, reverse sentence
"""
_GRADIENTS = f"""{_STATE.rstrip()}
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
"""

PRETRAINED_TABLES = {
    name: Table(f"pretrained_{name}", row, columns(text))
    for name, row, text in (
        ("answers", "one fact asked in one direction", _ANSWERS),
        (
            "scores",
            "one fact in one head: the masked subject's score for the known object",
            _SCORES,
        ),
        (
            "gradients",
            "one group of parameters: forward against reverse gradient",
            _GRADIENTS,
        ),
    )
}
