"""The probability that models give to answers."""

import torch
import torch.nn.functional as F

ANSWER_MEASURES = ("nll_token", "nll_word", "accuracy", "echo")


def answer_nll(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Compute -ln p of each answer token, shape (S, B, k), from logits (S, B, k, vocabulary)."""
    nll = F.cross_entropy(logits.flatten(0, -2), answers.flatten(), reduction="none")
    return nll.view(answers.shape)


def answer_measures(logits: torch.Tensor, sentences: torch.Tensor, relations: int) -> torch.Tensor:
    """Compute ANSWER_MEASURES (measures, S, N) from logits (S, N, k, vocabulary).

    They are of the answers that end the sentences (S, N, T); ids below `relations` are no entities.
    """
    k = logits.shape[2]
    prompts, answers = sentences[..., :-k], sentences[..., -k:]
    nll = answer_nll(logits, answers).double()
    best = logits.max(-1).indices
    right = (best == answers).all(-1)
    echo = ((prompts == best[..., :1]) & (prompts >= relations)).any(-1)
    return torch.stack((nll[..., 0], nll.sum(-1), right.double(), echo.double()))
