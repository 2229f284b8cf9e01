"""What a model gives to the answers."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def answer_nll(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """-ln p of each answer token, shape (S, B, k), from logits (S, B, k, vocabulary)."""
    nll = F.cross_entropy(logits.flatten(0, -2), answers.flatten(), reduction="none")
    return nll.view(answers.shape)
