"""The bilinear model of Zhu et al. 2024, section 3: logits l(y | x) = x^T Theta y.

Embeddings are fixed draws from N(0, I / d), so that different tokens are nearly
orthogonal; only Theta is trained. All seeds of a grid point are one batch.
"""

from __future__ import annotations

import torch

from reversal_curse.models.random_streams import Streams, stacked_normal


class Bilinear:
    """S models of m tokens: `embeddings` (S, m, d), fixed, and `theta` (S, d, d)."""

    def __init__(self, vocabulary: int, embed_dim: int, init_std: float, generators: Streams):
        self.embeddings = stacked_normal(generators, (vocabulary, embed_dim), embed_dim**-0.5)
        self.theta = stacked_normal(generators, (embed_dim, embed_dim), init_std)

    def to(self, device: torch.device) -> Bilinear:
        """Move to a device, in place."""
        self.embeddings, self.theta = self.embeddings.to(device), self.theta.to(device)
        return self

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        index = tokens[..., None].expand(-1, -1, self.embeddings.shape[-1])
        return self.embeddings.gather(1, index)

    def logits(self, subjects: torch.Tensor) -> torch.Tensor:
        """Compute logits (S, N, m) of every token after each subject of (S, N)."""
        return self._embed(subjects) @ self.theta @ self.embeddings.transpose(1, 2)

    def gradient(self, subjects: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """Compute the gradient (S, d, d) of the mean -ln p of N facts: mean -x (y - E_p[y])^T."""
        probabilities = self.logits(subjects).softmax(-1)
        residual = self._embed(objects) - probabilities @ self.embeddings
        return -self._embed(subjects).transpose(1, 2) @ residual / subjects.shape[1]

    def weights(self) -> torch.Tensor:
        """Compute the logit of every token after every token, shape (S, m, m)."""
        return self.embeddings @ self.theta @ self.embeddings.transpose(1, 2)
