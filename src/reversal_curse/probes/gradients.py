"""Gradients of what is shown of the held-out facts against that of what is held out.

Jeon et al. 2026: where they are aligned, a step that learns the one teaches the other. The
forward loss is what training on the shown sentences lowers: -ln p of the answer, and for
masked diffusion -ln p of the first entity in `[M] is B`, which is the answer that the reverse
query `B is [M]` asks for. The reverse loss is -ln p of the answers held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import polars as pl
import torch
from torch import nn
from torch.func import functional_call

from reversal_curse.models.likelihood import answer_nll
from reversal_curse.models.transformer import Part
from reversal_curse.probes.learner import SHOWN, UNSEEN, Learner
from reversal_curse.tables import TABLES

STEP = 0.01
"""Part of the forward loss by which the step lowers it, to first order."""
FACTS = 5
"""Facts whose own gradients are compared: the first of each seed."""
HELD_BYTES = 2**28
"""The gradients of as many facts are taken at once as this holds; those of one, if it must be."""

Gradient = dict[str, torch.Tensor]


def probe(learner: Learner) -> pl.DataFrame:
    """The `gradients` table; no rows for a task that shows nothing of its held-out facts.

    Cosines are those of single facts, averaged over the first five: in the gradient of a mean
    over facts, what all of them share (which tokens are answers at all) hides what is each
    one's own. The control asks the same reverse question for the answer of the next fact.
    The predicted and the actual change are those of a step along the mean forward gradient
    in one group of parameters, of the length that lowers the forward loss by one percent
    where it is taken in all of them.
    """
    shown, unseen = learner.sentences(SHOWN), learner.sentences(UNSEEN)
    if not shown.shape[1]:
        return TABLES["gradients"].empty()
    groups = learner.model.parameter_groups()
    cosine, control = _fact_cosines(learner, shown, unseen, groups)
    nll_forward, forward = _gradient(learner, lambda: _mean(_forward_nll(learner, shown)))
    nll_reverse, reverse = _gradient(learner, lambda: _mean(learner.nll(unseen)))
    length = STEP * nll_forward / _dots(forward, forward, groups)["all"]
    predicted = {name: -length * dot for name, dot in _dots(forward, reverse, groups).items()}
    del reverse
    frames = []
    for name, parts in groups.items():
        with _stepped(learner, forward, parts, length):
            changed = _mean(learner.nll(unseen))
        columns = {
            "cosine": cosine[name],
            "cosine_control": control[name],
            "nll_forward": nll_forward,
            "nll_reverse": nll_reverse,
            "predicted_change": predicted[name],
            "actual_change": changed - nll_reverse,
        }
        numbers = {key: value.tolist() for key, value in columns.items()}
        frames.append(pl.DataFrame({"seed": learner.dataset.seeds, "group": name, **numbers}))
    alone = unseen.shape[1] == 1
    control_column = pl.lit(None) if alone else pl.col("cosine_control")
    return pl.concat(frames).with_columns(cosine_control=control_column)


def _fact_cosines(
    learner: Learner, shown: torch.Tensor, unseen: torch.Tensor, groups: dict[str, list[Part]]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Mean cosines (S,) over single facts by group, and those with a wrong reverse answer."""
    answers = unseen[:, :, -learner.answer_length :]
    per_fact = shown.shape[1] // unseen.shape[1]  # sentences that show one fact
    facts = min(FACTS, unseen.shape[1])
    known = shown.unflatten(1, (-1, per_fact))[:, :facts]  # (S, facts, per_fact, T)
    questions = unseen[:, :facts, None]
    candidates = (answers[:, :facts, None], answers.roll(-1, dims=1)[:, :facts, None])
    at_once = max(1, HELD_BYTES // sum(p.nbytes for p in learner.model.parameters()))
    found: tuple[list[dict[str, torch.Tensor]], ...] = ([], [])
    for part in torch.arange(facts).split(at_once):
        forward = _fact_gradients(learner, partial(_forward_nll, learner), known[:, part])
        squares = _dots(forward, forward, groups)
        for cosines, asked in zip(found, candidates, strict=True):
            reverse = _fact_gradients(learner, learner.nll, questions[:, part], asked[:, part])
            products, others = _dots(forward, reverse, groups), _dots(reverse, reverse, groups)
            cosines.append({n: _cosine(products[n], squares[n], others[n]) for n in groups})
            del reverse
        del forward
    cosine, control = (
        {n: torch.cat([part[n].view(len(shown), -1) for part in parts], 1).mean(1) for n in groups}
        for parts in found
    )
    return cosine, control


class _Total(nn.Module):
    """The sum of a loss, as a module that has the model's parameters."""

    def __init__(self, model: nn.Module, loss: Callable[..., torch.Tensor]):
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.loss(*inputs).sum()


def _fact_gradients(
    learner: Learner, loss: Callable[..., torch.Tensor], *inputs: torch.Tensor
) -> Gradient:
    """Gradients (S * facts, ...) of the mean losses of single facts.

    `loss` maps inputs (S, B, ...) to the losses (S, B) of the sentences of one fact; `inputs` are
    (S, facts, B, ...). Each fact gets replicas of the models of its own, as seeds have them.
    """
    facts = inputs[0].shape[1]
    total = _Total(learner.model, lambda *fact: _mean(loss(*fact)))
    replicas = {
        name: parameter.detach().repeat_interleave(facts, 0).requires_grad_(parameter.requires_grad)
        for name, parameter in total.named_parameters()
    }
    with torch.enable_grad():
        value = functional_call(total, replicas, tuple(part.flatten(0, 1) for part in inputs))
        trained = {name: replica for name, replica in replicas.items() if replica.requires_grad}
        found = torch.autograd.grad(value, trained.values())
    return dict(zip((name.removeprefix("model.") for name in trained), found, strict=True))


def _mean(nll: torch.Tensor) -> torch.Tensor:
    """Mean over facts (S,), in double precision: small steps change its last digits."""
    return nll.double().mean(1)


def _forward_nll(learner: Learner, shown: torch.Tensor) -> torch.Tensor:
    """-ln p (S, B) of what training on the shown sentences teaches of their facts."""
    if learner.mask is None:
        return learner.nll(shown)
    k = learner.settings.entity_length
    query = shown.clone()
    query[:, :, :k] = learner.mask
    asked = torch.arange(k, device=shown.device).expand(*shown.shape[:2], -1)
    logits = learner.model(query, asked)[..., : learner.mask]
    return answer_nll(logits, shown[:, :, :k]).sum(-1)


def _gradient(learner: Learner, loss: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Gradient]:
    """The loss of each seed (S,), in double precision, and its gradient by parameter."""
    parameters = {n: p for n, p in learner.model.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        value = loss()
        found = torch.autograd.grad(value.sum(), parameters.values(), allow_unused=True)
    gradient = {
        name: torch.zeros_like(parameter) if part is None else part
        for (name, parameter), part in zip(parameters.items(), found, strict=True)
    }
    return value.detach(), gradient


def _dots(a: Gradient, b: Gradient, groups: dict[str, list[Part]]) -> dict[str, torch.Tensor]:
    """Inner products of two gradients by group, per seed (S,); `all` is the sum of the others."""
    dots = {
        group: torch.stack(
            [_dot(a[name][..., place], b[name][..., place]) for name, place in parts]
        )
        for group, parts in groups.items()
        if group != "all"
    }
    dots = {group: products.sum(0) for group, products in dots.items()}
    return {"all": torch.stack(list(dots.values())).sum(0), **dots}


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner products (S,) in double precision of two tensors (S, ...)."""
    return (a * b).flatten(1).sum(1).double()  # six times as fast as a product of vectors


def _cosine(product: torch.Tensor, square: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Cosine from inner products; 0 where one of the gradients vanishes."""
    norms = square.sqrt() * other.sqrt()
    return torch.where(norms > 0, product / norms, 0.0)


@contextmanager
def _stepped(
    learner: Learner, gradient: Gradient, parts: list[Part], length: torch.Tensor
) -> Iterator[None]:
    """The model after a gradient step of `length` (S,) in some parameters; undone at the end."""
    parameters = dict(learner.model.named_parameters())
    kept = {name: parameters[name].clone() for name, _ in parts}
    for name, place in parts:
        step = length.to(gradient[name].dtype).view(-1, *[1] * (gradient[name].dim() - 1))
        parameters[name][..., place] -= step * gradient[name][..., place]
    try:
        yield
    finally:
        for name, value in kept.items():
            parameters[name].copy_(value)
