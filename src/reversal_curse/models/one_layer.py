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


class OneLayer:
    """S models of M tokens: `y` and `z` (S, M, M), in double precision, starting at zero."""

    def __init__(self, seeds: int, vocabulary: int, device: torch.device):
        shape = (seeds, vocabulary, vocabulary)
        self.y = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
        self.z = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)

    def logits(self, sentences: torch.Tensor, last: int) -> torch.Tensor:
        """Compute logits (S, B, last, M) of the `last` final tokens of sentences (S, B, T)."""
        known, m = sentences[..., :-1], self.y.shape[-1]
        queries = known[..., -last:]
        pairs = queries[..., None] * m + known[:, :, None]  # where Z, flat, has their scores
        scores = self.z.flatten(1).gather(1, pairs.flatten(1)).view(pairs.shape)
        position = torch.arange(known.shape[-1], device=sentences.device)
        attended = position < position[-last:, None]  # (last, T - 1)
        weights = scores.masked_fill(~attended, -math.inf).softmax(-1)
        same = (known[..., None] == known[:, :, None]).to(weights.dtype)  # equal embeddings add up
        norm = (weights @ same * weights).sum(-1, keepdim=True).sqrt()
        first = torch.arange(0, self.y.shape[0] * m, m, device=sentences.device)  # row of each Y
        rows = F.embedding(known + first[:, None, None], self.y.flatten(0, 1))
        return weights / norm @ rows

    def weights(self) -> torch.Tensor:
        """Return the logit of every token after every token, shape (S, M, M)."""
        return self.y.detach()
