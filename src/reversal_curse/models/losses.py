"""Losses of logits against answers, by the names of the setting `loss`."""

import torch
import torch.nn.functional as F

from reversal_curse.models.likelihood import answer_nll


def brier(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Compute the squared error of the probabilities (S, B, k): Brier 1950."""
    return (logits.softmax(-1) - F.one_hot(answers, logits.shape[-1])).square().sum(-1)


def hinge(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Compute what the best logit of a wrong answer lacks to lie 1 below the right one's (S, B, k).

    Crammer and Singer 2001. Equal logits share the gradient.
    """
    right = answers[..., None]
    others = logits.scatter(-1, right, -torch.inf).amax(-1)
    return (1 + others - logits.gather(-1, right)[..., 0]).relu()


LOSSES = {"cross_entropy": answer_nll, "brier": brier, "hinge": hinge}
"""Each maps logits (S, B, k, vocabulary) and answers (S, B, k) to losses (S, B, k)."""
