"""Compare the gradients of forward and reverse losses of the held-out facts: Jeon et al. 2026.

If they are aligned, a step that learns one direction teaches the other. The forward loss is what
training on the shown sentences lowers: -ln p of the answer, or for masked diffusion that of the
first entity in `[M] is B`. The reverse loss is -ln p of the held-out answers, `B is [M]`.
"""

from collections.abc import Callable
from functools import partial

import polars as pl
import torch
from torch import nn
from torch.func import functional_call

from reversal_curse.models.learner import SHOWN, UNSEEN, Learner
from reversal_curse.models.likelihood import answer_nll
from reversal_curse.models.transformer import Part
from reversal_curse.tables.schemas import TABLES

STEP = 0.01
"""Fraction by which the step lowers the forward loss, to first order."""
FACTS = 5
"""How many facts (the first ones of each seed) have their gradients compared one by one."""
HELD_BYTES = 2**28
"""Memory for the gradients of several facts at once; those of one fact may take more."""

Gradient = dict[str, torch.Tensor]

WHEN = "sparse"


def probe(learner: Learner) -> pl.DataFrame:
    """Make the `gradients` table; no rows if the task shows nothing of its held-out facts.

    Cosines are means over the first five facts: in the gradient of a mean loss, what all facts
    share (which tokens are answers at all) hides what belongs to each. The control takes the next
    fact's answer to the reverse question. The changes come from a step along the mean forward
    gradient in one group; in all parameters that step lowers the forward loss by 1 %.
    """
    shown, unseen = learner.sentences(SHOWN), learner.sentences(UNSEEN)
    if not shown.shape[1]:
        return TABLES["gradients"].empty()
    groups = learner.model.parameter_groups()
    cosine, control = _fact_cosines(learner, shown, unseen, groups)
    nll_forward, forward = _gradients(learner, partial(_forward_nll, learner), shown[:, None])
    nll_reverse, reverse = _gradients(learner, learner.nll, unseen[:, None])
    length = STEP * nll_forward / _dots(forward, forward, groups)["all"]
    predicted = {name: -length * dot for name, dot in _dots(forward, reverse, groups).items()}
    del reverse
    parameters = dict(learner.model.named_parameters())
    frames = []
    for name, parts in groups.items():
        kept = {parameter: parameters[parameter].clone() for parameter, _ in parts}
        for parameter, place in parts:
            gradient = forward[parameter]
            step = length.to(gradient.dtype).view(-1, *[1] * (gradient.dim() - 1))
            parameters[parameter][..., place] -= step * gradient[..., place]
        changed = _mean(learner.nll(unseen))
        for parameter, value in kept.items():
            parameters[parameter].copy_(value)
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
    others = pl.col("cosine_control") if unseen.shape[1] > 1 else pl.lit(None)
    return pl.concat(frames).with_columns(cosine_control=others)


def _fact_cosines(
    learner: Learner, shown: torch.Tensor, unseen: torch.Tensor, groups: dict[str, list[Part]]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Average cosines (S,) over facts, by group: with right and with wrong reverse answers."""
    answers = unseen[:, :, -learner.answer_length :]
    per_fact = shown.shape[1] // unseen.shape[1]  # sentences that show one fact
    facts = min(FACTS, unseen.shape[1])
    known = shown.unflatten(1, (-1, per_fact))[:, :facts]  # (S, facts, per_fact, T)
    questions = unseen[:, :facts, None]
    candidates = (answers[:, :facts, None], answers.roll(-1, dims=1)[:, :facts, None])
    at_once = max(1, HELD_BYTES // sum(p.nbytes for p in learner.model.parameters()))
    found = [{group: [] for group in groups} for _ in candidates]
    for part in torch.arange(facts).split(at_once):
        _, forward = _gradients(learner, partial(_forward_nll, learner), known[:, part])
        squares = _dots(forward, forward, groups)
        for cosines, asked in zip(found, candidates, strict=True):
            _, reverse = _gradients(learner, learner.nll, questions[:, part], asked[:, part])
            products, others = _dots(forward, reverse, groups), _dots(reverse, reverse, groups)
            del reverse
            for group in groups:
                norms = squares[group].sqrt() * others[group].sqrt()
                cosine = torch.where(norms > 0, products[group] / norms, 0.0)
                cosines[group].append(cosine.view(len(shown), -1))
        del forward
    right, wrong = ({n: torch.cat(parts, 1).mean(1) for n, parts in one.items()} for one in found)
    return right, wrong


class _Total(nn.Module):
    """A module that returns losses (N,) and has the model's parameters."""

    def __init__(self, model: nn.Module, loss: Callable[..., torch.Tensor]):
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return _mean(self.loss(*inputs))


def _gradients(
    learner: Learner, loss: Callable[..., torch.Tensor], *inputs: torch.Tensor
) -> tuple[torch.Tensor, Gradient]:
    """Compute mean losses (S * facts,) of facts or sets of facts, and gradients by parameter.

    `loss` maps inputs (S, B, ...) of one fact to (S, B); `inputs` are (S, facts, B, ...). Each fact
    gets its own replicas of the models.
    """
    facts = inputs[0].shape[1]
    replicas = {
        f"model.{name}": p.detach().repeat_interleave(facts, 0).requires_grad_(p.requires_grad)
        for name, p in learner.model.named_parameters()
    }
    trained = {name: replica for name, replica in replicas.items() if replica.requires_grad}
    with torch.enable_grad():
        flat = tuple(part.flatten(0, 1) for part in inputs)
        losses = functional_call(_Total(learner.model, loss), replicas, flat)
        found = torch.autograd.grad(losses.sum(), list(trained.values()))
    names = (name.removeprefix("model.") for name in trained)
    return losses.detach(), dict(zip(names, found, strict=True))


def _mean(nll: torch.Tensor) -> torch.Tensor:
    """Average over sentences (S,), in double precision: small steps change only the last digits."""
    return nll.double().mean(1)


def _forward_nll(learner: Learner, shown: torch.Tensor) -> torch.Tensor:
    """Compute -ln p (S, B) of what training on the shown sentences teaches."""
    if learner.mask is None:
        return learner.nll(shown)
    query, k = shown.clone(), learner.settings.entity_length
    query[:, :, :k] = learner.mask
    asked = torch.arange(k, device=shown.device).expand(*shown.shape[:2], -1)
    logits = learner.model(query, asked)[..., : learner.mask]
    return answer_nll(logits, shown[:, :, :k]).sum(-1)


def _dots(a: Gradient, b: Gradient, groups: dict[str, list[Part]]) -> dict[str, torch.Tensor]:
    """Multiply two gradients: inner products (S,) by group, as doubles; `all` is their sum."""
    dots = {}
    for group, parts in groups.items():
        if group != "all":
            # Six times as fast as products of vectors.
            products = [
                (a[name][..., place] * b[name][..., place]).flatten(1).sum(1).double()
                for name, place in parts
            ]
            dots[group] = torch.stack(products).sum(0)
    return {"all": torch.stack(list(dots.values())).sum(0), **dots}
