"""The probability that models give to answers."""

import torch
import torch.nn.functional as F

MEASURES = ("nll_token", "nll_word", "accuracy")


def answer_nll(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Compute -ln p of each answer token, shape (S, B, k), from logits (S, B, k, vocabulary)."""
    nll = F.cross_entropy(logits.flatten(0, -2), answers.flatten(), reduction="none")
    return nll.view(answers.shape)


def answer_measures(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Compute MEASURES (measures, S, N) from logits (S, N, k, vocabulary), answers (S, N, k)."""
    nll = answer_nll(logits, answers).double()
    right = (logits.max(-1).indices == answers).all(-1).double()
    return torch.stack((nll[..., 0], nll.sum(-1), right))
