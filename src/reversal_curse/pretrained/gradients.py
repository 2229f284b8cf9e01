"""Forward against reverse gradients of a pretrained model: Jeon et al. 2026.

As `probes/gradients.py` for our own models: cosines of single facts, with the reverse answer of
another fact as control, and what a step along the mean forward gradient does to the reverse loss.
The forward loss is what training on the forward sentences lowers: for masked models -ln p of the
subject in `[M] ... object`, for causal ones of the object; the reverse loss is -ln p of the
subject in the reverse sentence. All tokens of an answer are asked for at once, in nats per token.
Adapters take part in the model, but gradients are those of its own weights.

One gradient is held in memory beside the weights; others are multiplied with it, parameter by
parameter, as the backward pass makes them, and forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
import torch

from reversal_curse.pretrained.answers import Questions, batches, stacked, token_nll
from reversal_curse.pretrained.layout import Layout
from reversal_curse.pretrained.loading import Loaded
from reversal_curse.probes.gradients import FACTS, STEP

PART = 2**24
"""Numbers that are multiplied at a time."""
Parameters = dict[str, torch.nn.Parameter]
GROUPS = ("attention", "values", "fused", "mlp", "embeddings", "head", "norms", "other")
_BY_NAME = (  # the first that is found in a parameter's name
    ("norms", r"(?i:norm)|\bln_?\w*\b"),
    ("attention", r"\b(q_proj|k_proj|query|key|q_lin|k_lin|[qk])\b"),
    ("fused", r"\b(Wqkv|qkv|qkv_proj|c_attn|query_key_value|att_proj)\b"),
    (
        "values",
        r"\b(v_proj|value|v_lin|v|o_proj|attn_out|out_lin|Wo)\b|att\w*\.(output|c_proj|dense)",
    ),
    ("mlp", r"mlp|ffn|\bff_|intermediate|\b(gate|up|down)_proj\b|\boutput\.dense\b|feed_forward"),
    ("embeddings", r"embed|\bwte\b|\bwpe\b"),
    ("head", r"lm_head|cls|decoder|\bhead\b"),
)


def parameter_group(name: str) -> str:
    """What part of a transformer a parameter belongs to, by the names that architectures use."""
    name = name.removesuffix(".base_layer.weight").removesuffix(".base_layer.bias")
    return next((group for group, pattern in _BY_NAME if re.search(pattern, name)), "other")


def measure_gradients(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """The `gradients` table of a model, without the columns that say which."""
    with _own_parameters(loaded.model) as parameters:
        groups = _groups(loaded, parameters)
        cosine, control = _cosines(loaded, questions, parameters, groups)
        changes = _changes(loaded, questions, parameters, groups)
    rows = [
        {
            "group": group,
            "cosine": cosine[group],
            "cosine_control": control.get(group),
            **changes[group],
        }
        for group in ("all", *GROUPS)
        if group in cosine
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


@contextmanager
def _own_parameters(model: torch.nn.Module) -> Iterator[Parameters]:
    """The model's own weights, asking for gradients, and nothing else does; undone at the end."""
    asked = {name: p.requires_grad for name, p in model.named_parameters()}
    own = {name: p for name, p in model.named_parameters() if "lora_" not in name}
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in own)
        yield own
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(asked[name])
            parameter.grad = None


def _groups(loaded: Loaded, parameters: Parameters) -> dict[str, str]:
    """The group of every parameter; input and output embeddings are what the model says."""
    known = {id(loaded.model.get_input_embeddings().weight): "embeddings"}
    head = loaded.model.get_output_embeddings()
    if head is not None:
        known.setdefault(id(head.weight), "head")  # tied to the input, it is its embedding
    return {name: known.get(id(p), parameter_group(name)) for name, p in parameters.items()}


def _losses(loaded: Loaded, questions: Questions) -> tuple[list[Layout], str]:
    """The sentences of the forward loss, and which entity it asks for."""
    return questions.right["forward"], "object" if loaded.entry.causal else "subject"


def _backward(
    loaded: Loaded,
    layouts: list[Layout],
    asked: str,
    parameters: Parameters,
    take: Callable[[str, torch.Tensor], None] | None = None,
) -> float:
    """The mean loss, and its gradient: left in `grad`, or given to `take` and forgotten.

    With `take`, one batch only: a gradient is whole when the backward pass has made it.
    """
    hooks = []
    if take is not None:
        for name, parameter in parameters.items():

            def consume(p: torch.Tensor, name: str = name) -> None:
                take(name, p.grad)
                p.grad = None

            hooks.append(parameter.register_post_accumulate_grad_hook(consume))
    total = 0.0
    try:
        for batch in batches(layouts, loaded.entry.batch_size):
            loss = _nll(loaded, batch, asked).sum() / len(layouts)
            loss.backward()
            total += loss.item()
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _nll(loaded: Loaded, layouts: list[Layout], asked: str) -> torch.Tensor:
    """-ln p (B,) of an entity in nats per token, in double precision, all its tokens at once."""
    tokens, where = stacked(layouts, asked)
    shown = tokens if loaded.entry.causal else tokens.masked_fill(where, loaded.mask)
    nll = token_nll(loaded, shown, tokens).double()
    return torch.where(where, nll, 0.0).sum(1) / where.sum(1)


@torch.no_grad()
def _mean_nll(loaded: Loaded, layouts: list[Layout], asked: str) -> float:
    parts = [_nll(loaded, b, asked).sum() for b in batches(layouts, loaded.entry.batch_size)]
    return float(sum(parts)) / len(layouts)


def _take_gradient(parameters: Parameters) -> dict[str, torch.Tensor]:
    """The gradients that stand in `grad`, which is left empty."""
    taken = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in parameters.items()}
    for parameter in parameters.values():
        parameter.grad = None
    return taken


class _Products:
    """Inner products of a held gradient with one that comes parameter by parameter, by group."""

    def __init__(self, held: dict[str, torch.Tensor], groups: dict[str, str]):
        self.held, self.groups = held, groups
        self.products = dict.fromkeys(["all", *groups.values()], 0.0)
        self.squares = dict.fromkeys(self.products, 0.0)

    def __call__(self, name: str, gradient: torch.Tensor) -> None:
        product = _dot(self.held[name], gradient)
        square = _dot(gradient, gradient)
        for group in ("all", self.groups[name]):
            self.products[group] += product
            self.squares[group] += square


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """Inner product, part by part: the products of an embedding are as large as itself."""
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for x, y in zip(a.reshape(-1).split(PART), b.reshape(-1).split(PART), strict=True):
        total += (x.float() * y.float()).sum(dtype=torch.float64)
    return total.item()


def _cosines(
    loaded: Loaded, questions: Questions, parameters: Parameters, groups: dict[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean cosines over a few facts, spread over the table, by group; those of the control."""
    layouts, asked = _losses(loaded, questions)
    count = min(FACTS, len(layouts))
    chosen = [layouts[i * len(layouts) // count] for i in range(count)]
    found: tuple[dict, dict] = ({}, {})
    for layout in chosen:
        _backward(loaded, [layout], asked, parameters)
        forward = _take_gradient(parameters)
        own = _Products(forward, groups)
        for name, gradient in forward.items():
            own(name, gradient)
        for cosines, reverses in zip(found, (questions.right, questions.wrong), strict=True):
            for reverse in reverses["reverse"]:
                if reverse.fact == layout.fact:
                    against = _Products(forward, groups)
                    _backward(loaded, [reverse], "subject", parameters, against)
                    for group, product in against.products.items():
                        norm = (own.squares[group] * against.squares[group]) ** 0.5
                        cosines.setdefault(group, []).append(product / norm if norm else 0.0)
    cosine, control = ({g: sum(v) / len(v) for g, v in cosines.items()} for cosines in found)
    return cosine, control


def _changes(
    loaded: Loaded, questions: Questions, parameters: Parameters, groups: dict[str, str]
) -> dict[str, dict[str, float | None]]:
    """Losses, and predicted and actual change of the reverse loss by a forward step, by group.

    The step goes along the mean forward gradient, of the length that lowers the forward loss by
    one percent where it is taken in all parameters. In sixteen bits weights cannot hold it.
    """
    layouts, asked = _losses(loaded, questions)
    nll_forward = _backward(loaded, layouts, asked, parameters)
    forward = _take_gradient(parameters)
    square = sum(_dot(gradient, gradient) for gradient in forward.values())
    length = STEP * nll_forward / square if square else 0.0
    reverse = questions.right["reverse"]
    nll_reverse = _mean_nll(loaded, reverse, "subject")
    products = _Products(forward, groups)
    for batch in batches(reverse, loaded.entry.batch_size):  # products add up over batches
        part = _Products(forward, groups)
        _backward(loaded, batch, "subject", parameters, part)
        for group, product in part.products.items():
            products.products[group] += product * len(batch) / len(reverse)
    held = all(parameter.dtype == torch.float32 for parameter in parameters.values())
    changes = {}
    for group, product in products.products.items():
        chosen = [n for n in parameters if group in ("all", groups[n])]
        actual = None
        if held:
            with _stepped(parameters, forward, chosen, length):
                actual = _mean_nll(loaded, reverse, "subject") - nll_reverse
        changes[group] = {
            "nll_forward": nll_forward,
            "nll_reverse": nll_reverse,
            "predicted_change": -length * product,
            "actual_change": actual,
        }
    return changes


@contextmanager
def _stepped(
    parameters: Parameters, gradient: dict[str, torch.Tensor], names: list[str], length: float
) -> Iterator[None]:
    """The model after a gradient step in some parameters; exactly undone at the end."""
    kept = {name: parameters[name].detach().to("cpu", copy=True) for name in names}
    with torch.no_grad():
        for name in names:
            parameters[name].sub_(gradient[name], alpha=length)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                parameters[name].copy_(value)
