"""Forward against reverse gradients of a pretrained model: Jeon et al. 2026.

As `probes/gradients.py` for our own models. The forward loss is what training on the forward
sentences lowers: for masked models -ln p of the subject in `[M] ... object`, for causal ones of the
object; the reverse loss is -ln p of the subject in the reverse sentence. Adapters take part in the
model, but gradients are those of its own weights. One gradient is held in memory beside these;
others are multiplied with it, parameter by parameter, as the backward pass makes them.
"""

import re
from collections.abc import Iterator
from typing import Any

import polars as pl
import torch

from reversal_curse.pretrained.answers import batches, stacked, token_nll
from reversal_curse.pretrained.facts import Layout, Questions
from reversal_curse.pretrained.loading import Loaded
from reversal_curse.probes.gradients import FACTS, STEP, Gradient

Sums = dict[str, float]
PART = 2**24
"""Numbers that are multiplied at a time."""
_BY_NAME = {  # the first that is found in a parameter's name
    "norms": r"(?i:norm)|\bln_?\w*\b",
    "attention": r"\b(q_proj|k_proj|query|key|q_lin|k_lin|[qk])\b",
    "fused": r"\b(Wqkv|qkv|qkv_proj|c_attn|query_key_value|att_proj)\b",
    "values": r"\b(v_proj|value|v_lin|v|o_proj|attn_out|out_lin|Wo)\b"
    r"|att\w*\.(output|c_proj|dense)",
    "mlp": r"mlp|ffn|\bff_|intermediate|\b(gate|up|down)_proj\b|\boutput\.dense\b|feed_forward",
    "embeddings": r"embed|\bwte\b|\bwpe\b",
    "head": r"lm_head|cls|decoder|\bhead\b",
}
GROUPS = ("all", "attention", "values", "fused", "mlp", "embeddings", "head", "norms", "other")


def parameter_group(name: str) -> str:
    """Tell what part of a transformer a parameter belongs to, by the names in use."""
    name = name.removesuffix(".base_layer.weight").removesuffix(".base_layer.bias")
    return next((group for group, pattern in _BY_NAME.items() if re.search(pattern, name)), "other")


def measure_gradients(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """Make the `gradients` table of a model, without the columns that say which."""
    before = {parameter: parameter.requires_grad for parameter in loaded.model.parameters()}
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_("lora_" not in name)
    weights = _Weights(loaded)
    table = _changes(weights, questions).join(_cosines(weights, questions), on="group", how="left")
    for parameter, asked in before.items():
        parameter.requires_grad_(asked)
    return table


class _Weights:
    """The model's own weights, and what backward passes give them."""

    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self.parameters = {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}
        known = {id(loaded.model.get_input_embeddings().weight): "embeddings"}
        head = loaded.model.get_output_embeddings()
        if head is not None:
            known.setdefault(id(head.weight), "head")  # tied to the input, it is its embedding
        self.groups = {n: known.get(id(p), parameter_group(n)) for n, p in self.parameters.items()}

    def losses(self, layouts: list[Layout], asked: str = "subject") -> Iterator[torch.Tensor]:
        """Yield parts, by batch, of the mean -ln p of an entity, all tokens at once, per token."""
        for batch in batches(layouts, self.loaded.entry.batch_size):
            tokens, where = stacked(batch, asked)
            masked = not self.loaded.entry.causal
            shown = tokens.masked_fill(where, self.loaded.mask) if masked else tokens
            nll = token_nll(self.loaded, shown, tokens).double()
            yield (torch.where(where, nll, 0.0).sum(1) / where.sum(1)).sum() / len(layouts)

    def gradient(self, layouts: list[Layout]) -> tuple[float, Gradient]:
        """Compute the mean forward loss of sentences, and its gradient."""
        total, gradient = 0.0, {}
        for loss in self.losses(layouts, "object" if self.loaded.entry.causal else "subject"):
            loss.backward()
            total += loss.item()
        for name, parameter in self.parameters.items():
            unused = parameter.grad is None
            gradient[name] = torch.zeros_like(parameter) if unused else parameter.grad
            parameter.grad = None
        return total, gradient

    def against(self, held: Gradient, batch: list[Layout]) -> tuple[Sums, Sums]:
        """Multiply a gradient with that of a batch's reverse loss, and the latter with itself."""
        products, squares = {}, {}

        def take(parameter: Any, name: str) -> None:
            products[name] = _dot(held[name], parameter.grad)
            squares[name] = _dot(parameter.grad, parameter.grad)
            parameter.grad = None

        hooks = [
            parameter.register_post_accumulate_grad_hook(lambda p, name=name: take(p, name))
            for name, parameter in self.parameters.items()
        ]
        for loss in self.losses(batch):
            loss.backward()
        for hook in hooks:
            hook.remove()
        return self.by_group(products), self.by_group(squares)

    def by_group(self, values: Sums) -> Sums:
        """Add up values of parameters in each group, and in `all`."""
        sums = dict.fromkeys(["all", *self.groups.values()], 0.0)
        for name, value in values.items():
            sums["all"] += value
            sums[self.groups[name]] += value
        return sums


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """Multiply tensors, part by part: the products of an embedding are as large as itself."""
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for x, y in zip(a.reshape(-1).split(PART), b.reshape(-1).split(PART), strict=True):
        total += (x.float() * y.float()).sum(dtype=torch.float64)
    return total.item()


def _cosines(weights: _Weights, questions: Questions) -> pl.DataFrame:
    """Compute mean cosines over a few facts, spread over the table, by group; and the control."""
    layouts, rows = questions.right["forward"], []
    count = min(FACTS, len(layouts))
    for layout in (layouts[i * len(layouts) // count] for i in range(count)):
        _, held = weights.gradient([layout])
        own = weights.by_group({name: _dot(part, part) for name, part in held.items()})
        for column, asked in (("cosine", questions.right), ("cosine_control", questions.wrong)):
            for reverse in (one for one in asked["reverse"] if one.fact == layout.fact):
                products, squares = weights.against(held, [reverse])
                for group, product in products.items():
                    norm = (own[group] * squares[group]) ** 0.5
                    rows.append({"group": group, column: product / norm if norm else 0.0})
        del held  # before there is another
    schema = {"group": pl.String, "cosine": pl.Float64, "cosine_control": pl.Float64}
    return pl.DataFrame(rows, schema).group_by("group").mean()


def _changes(weights: _Weights, questions: Questions) -> pl.DataFrame:
    """Predict and measure by how much a forward step changes the reverse loss, by group.

    It has the length that lowers the forward loss by one percent where it is taken in all
    parameters. In sixteen bits weights cannot hold it.
    """
    parameters, reverse, rows = weights.parameters, questions.right["reverse"], []
    nll_forward, forward = weights.gradient(questions.right["forward"])
    square = sum(_dot(part, part) for part in forward.values())
    length = STEP * nll_forward / square if square else 0.0
    products = weights.by_group({})
    for batch in batches(reverse, weights.loaded.entry.batch_size):
        for group, product in weights.against(forward, batch)[0].items():
            products[group] += product * len(batch) / len(reverse)
    with torch.no_grad():
        nll_reverse = sum(loss.item() for loss in weights.losses(reverse))
        for group in sorted(products, key=GROUPS.index):
            chosen = [n for n in parameters if group in ("all", weights.groups[n])]
            changed = None
            if all(parameter.dtype == torch.float32 for parameter in parameters.values()):
                kept = {name: parameters[name].to("cpu", copy=True) for name in chosen}
                for name in chosen:
                    parameters[name].sub_(forward[name], alpha=length)
                changed = sum(loss.item() for loss in weights.losses(reverse)) - nll_reverse
                for name in chosen:
                    parameters[name].copy_(kept[name])
            rows.append((group, -length * products[group], changed))
    schema = {"group": pl.String, "predicted_change": pl.Float64, "actual_change": pl.Float64}
    losses = {"nll_forward": pl.lit(nll_forward), "nll_reverse": pl.lit(nll_reverse)}
    return pl.DataFrame(rows, schema, orient="row").with_columns(**losses)
