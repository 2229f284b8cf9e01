"""The one-layer transformer of Zhu et al. 2024, section 4, in terms of its effective weights.

Reparameterised as in Tian et al. 2023, "Scan and Snap": with orthonormal embeddings, Y holds
the output weights and Z the attention scores between tokens. The last token of the input
attends to the tokens before it,

    b_t = softmax_t Z[x_T, x_t] over t < T,   f = sum_t b_t e(x_t),   logits = Y^T f / |f|.

In a sentence of three tokens only the first can be attended to, so Z plays no part and the
logits are Y[x_1, :].
"""

import math

import torch
import torch.nn.functional as F

from reversal_curse.models.random_streams import Streams, stacked_normal


class OneLayer:
    """S models of M tokens: `y` and `z` (S, M, M), in double precision, starting at zero.

    With `generators`, Y = V O is a product of two matrices drawn from N(0, 1 / M). Gradient descent
    on factors generalises where it does not on their product: Huang et al. 2025 (arXiv 2506.10887),
    on other data and with linear attention.
    """

    def __init__(
        self, seeds: int, vocabulary: int, device: torch.device, generators: Streams | None = None
    ):
        shape = (seeds, vocabulary, vocabulary)
        zeros = torch.zeros(shape, dtype=torch.float64, device=device)
        self.z = zeros.clone().requires_grad_()
        factors = [zeros]
        if generators:
            std = vocabulary**-0.5
            factors = [stacked_normal(generators, shape[1:], std).to(zeros) for _ in range(2)]
        self.factors = [factor.requires_grad_() for factor in factors]
        """Y itself, or V and O."""

    @property
    def y(self) -> torch.Tensor:
        """Return the output weights."""
        return self.factors[0] if len(self.factors) == 1 else self.factors[0] @ self.factors[1]

    def logits(self, sentences: torch.Tensor, last: int) -> torch.Tensor:
        """Compute logits (S, B, last, M) of the `last` final tokens of sentences (S, B, T)."""
        y = self.y
        known, m = sentences[..., :-1], y.shape[-1]
        queries = known[..., -last:]
        pairs = queries[..., None] * m + known[:, :, None]  # where Z, flat, has their scores
        scores = self.z.flatten(1).gather(1, pairs.flatten(1)).view(pairs.shape)
        position = torch.arange(known.shape[-1], device=sentences.device)
        attended = position < position[-last:, None]  # (last, T - 1)
        weights = scores.masked_fill(~attended, -math.inf).softmax(-1)
        same = (known[..., None] == known[:, :, None]).to(weights.dtype)  # equal embeddings add up
        norm = (weights @ same * weights).sum(-1, keepdim=True).sqrt()
        first = torch.arange(0, y.shape[0] * m, m, device=sentences.device)  # row of each Y
        rows = F.embedding(known + first[:, None, None], y.flatten(0, 1))
        return weights / norm @ rows

    def weights(self) -> torch.Tensor:
        """Return the logit of every token after every token, shape (S, M, M)."""
        return self.y.detach()
