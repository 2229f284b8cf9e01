"""Forward against reverse gradients of a pretrained model: Jeon et al. 2026.

The same as `probes/gradients.py` for our own models. The forward loss is -ln p of the subject in
`[M] ... object` for masked models, of the object for causal ones; the reverse loss is that of the
subject in the reverse sentence. Gradients are those of a model's own weights, with adapters in
place. Memory holds one gradient; others are multiplied with it while the backward pass makes them.
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
"""How many numbers are multiplied at a time."""
_BY_NAME = {  # the first pattern found in a parameter's name counts
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
    """Tell which part of a transformer a parameter belongs to, by the names that models use."""
    return next((group for group, pattern in _BY_NAME.items() if re.search(pattern, name)), "other")


def measure_gradients(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """Make the `gradients` table of a model, without the columns that name its state."""
    before = {parameter: parameter.requires_grad for parameter in loaded.model.parameters()}
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_("lora_" not in name)
    weights = _Weights(loaded)
    table = _changes(weights, questions).join(_cosines(weights, questions), on="group", how="left")
    for parameter, trained in before.items():
        parameter.requires_grad_(trained)
    return table


class _Weights:
    """The model's own weights, and their gradients."""

    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self.parameters = {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}
        known = {id(loaded.model.get_input_embeddings().weight): "embeddings"}
        head = loaded.model.get_output_embeddings()
        if head is not None:
            known.setdefault(id(head.weight), "head")  # unless it is tied to the input
        self.groups = {n: known.get(id(p), parameter_group(n)) for n, p in self.parameters.items()}

    def losses(self, layouts: list[Layout], entity: str = "subject") -> Iterator[torch.Tensor]:
        """Yield each batch's share of the mean -ln p per token of an entity, all of it masked."""
        for batch in batches(layouts, self.loaded.entry.batch_size):
            tokens, asked = stacked(batch, entity)
            masked = not self.loaded.entry.causal
            shown = tokens.masked_fill(asked, self.loaded.mask) if masked else tokens
            nll = token_nll(self.loaded, shown, tokens).double()
            yield (torch.where(asked, nll, 0.0).sum(1) / asked.sum(1)).sum() / len(layouts)

    def gradient(self, layouts: list[Layout]) -> tuple[float, Gradient]:
        """Compute the mean forward loss of sentences, and its gradient."""
        total, gradient = 0.0, {}
        for loss in self.losses(layouts, "object" if self.loaded.entry.causal else "subject"):
            loss.backward()
            total += loss.item()
        for name, p in self.parameters.items():
            gradient[name] = torch.zeros_like(p) if p.grad is None else p.grad
        self.loaded.model.zero_grad()
        return total, gradient

    def against(self, held: Gradient, batch: list[Layout]) -> tuple[Sums, Sums]:
        """Multiply the gradient of a batch's reverse loss with `held` and itself, by group."""
        products, squares, hooks = {}, {}, []
        for name, parameter in self.parameters.items():

            def take(p: Any, name: str = name) -> None:
                products[name], squares[name] = _dot(held[name], p.grad), _dot(p.grad, p.grad)
                p.grad = None

            hooks.append(parameter.register_post_accumulate_grad_hook(take))
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
    """Sum products part by part: those of a whole embedding would need as much memory again."""
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for x, y in zip(a.reshape(-1).split(PART), b.reshape(-1).split(PART), strict=True):
        total += (x.float() * y.float()).sum(dtype=torch.float64)
    return total.item()


def _cosines(weights: _Weights, questions: Questions) -> pl.DataFrame:
    """Average cosines over a few facts from all over the table, by group; and the control."""
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
        del held  # to make room for the next
    schema = {"group": pl.String, "cosine": pl.Float64, "cosine_control": pl.Float64}
    return pl.DataFrame(rows, schema).group_by("group").mean()


def _changes(weights: _Weights, questions: Questions) -> pl.DataFrame:
    """Predict and measure how a forward step in each group changes the reverse loss.

    In all parameters the step lowers the forward loss by 1 %; it is too small for 16-bit weights.
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
            row: dict[str, Any] = {"group": group, "actual_change": None}
            row |= {"nll_forward": nll_forward, "nll_reverse": nll_reverse}
            row["predicted_change"] = -length * products[group]
            if all(parameter.dtype == torch.float32 for parameter in parameters.values()):
                chosen = [n for n in parameters if group in ("all", weights.groups[n])]
                kept = {name: parameters[name].to("cpu", copy=True) for name in chosen}
                for name in chosen:
                    parameters[name].sub_(forward[name], alpha=length)
                nll = sum(loss.item() for loss in weights.losses(reverse))
                for name in chosen:
                    parameters[name].copy_(kept[name])
                row["actual_change"] = nll - nll_reverse
            rows.append(row)
    return pl.DataFrame(rows)
