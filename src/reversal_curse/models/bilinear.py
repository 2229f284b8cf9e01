"""The bilinear model of Zhu et al. 2024, section 3: logits l(y | x) = x^T Theta y.

Embeddings are fixed draws from N(0, I / d), so that different tokens are nearly
orthogonal; only Theta is trained. All seeds of a grid point are one batch.
"""

import torch

from reversal_curse.models.random_streams import Streams, stacked_normal


class Bilinear:
    """S models of m tokens: `embeddings` (S, m, d), fixed, and `theta` (S, d, d)."""

    def __init__(
        self,
        vocabulary: int,
        embed_dim: int,
        init_std: float,
        generators: Streams,
        device: torch.device,
    ):
        embeddings = stacked_normal(generators, (vocabulary, embed_dim), embed_dim**-0.5)
        self.embeddings = embeddings.to(device)
        theta = stacked_normal(generators, (embed_dim, embed_dim), init_std)
        self.theta = theta.to(device).requires_grad_()

    def logits(self, subjects: torch.Tensor) -> torch.Tensor:
        """Compute logits (S, N, m) of every token after each subject of (S, N)."""
        index = subjects[..., None].expand(-1, -1, self.embeddings.shape[-1])
        return self.embeddings.gather(1, index) @ self.theta @ self.embeddings.transpose(1, 2)

    def weights(self) -> torch.Tensor:
        """Compute the logit of every token after every token, shape (S, m, m)."""
        return self.embeddings @ self.theta @ self.embeddings.transpose(1, 2)
