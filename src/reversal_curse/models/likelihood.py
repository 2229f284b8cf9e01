"""What a model gives to the answers."""

from __future__ import annotations

import torch


def answer_nll(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """-ln p of each answer token, shape (S, B, k), from logits (S, B, k, vocabulary)."""
    chosen = logits.gather(-1, answers[..., None]).squeeze(-1)
    return logits.logsumexp(-1) - chosen
