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
        s, batch, length = sentences.shape
        known = sentences[..., :-1]
        queries = known[..., -last:]
        index = queries.reshape(s, -1, 1).expand(-1, -1, self.z.shape[-1])
        scores = self.z.gather(1, index).view(s, batch, last, -1)
        scores = scores.gather(-1, known[:, :, None].expand(-1, -1, last, -1))
        position = torch.arange(length - 1, device=sentences.device)
        attended = position < position[-last:, None]  # (last, T - 1)
        weights = scores.masked_fill(~attended, -math.inf).softmax(-1)
        mixed = weights @ F.one_hot(known, self.y.shape[-1]).to(weights.dtype)
        mixed = mixed / mixed.norm(dim=-1, keepdim=True)
        return (mixed.flatten(1, 2) @ self.y).view(s, batch, last, -1)

    def weights(self) -> torch.Tensor:
        """Return the logit of every token after every token, shape (S, M, M)."""
        return self.y.detach()
