"""GPT-2 from scratch, all seeds of a grid point as one batch.

Every parameter carries a leading seed dimension S, so that one matrix product
advances all replicas. Architecture and initialisation follow GPT-2 (Radford et
al. 2019): pre-LN decoder, tanh GELU, N(0, 0.02^2), residual projections scaled by
1 / sqrt(2 L). Zhu et al. 2024, section 5, train this model with an untied head.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from reversal_curse.models.positional import apply_rotary, rotary_angles
from reversal_curse.randomness import no_dropout, stacked_normal
from reversal_curse.settings import Settings

INIT_STD = 0.02
LAYER_NORM_EPS = 1e-5

Noise = Callable[[torch.Tensor], torch.Tensor]


class Linear(nn.Module):
    """S affine maps, one per seed: (S, N, inputs) to (S, N, outputs)."""

    def __init__(self, generators: list[torch.Generator], inputs: int, outputs: int, std: float):
        super().__init__()
        self.weight = nn.Parameter(stacked_normal(generators, (inputs, outputs), std))
        self.bias = nn.Parameter(torch.zeros(len(generators), 1, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class LayerNorm(nn.Module):
    """Layer normalisation of (S, N, d) with a gain and a shift per seed."""

    def __init__(self, seeds: int, embed_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(seeds, 1, embed_dim))
        self.bias = nn.Parameter(torch.zeros(seeds, 1, embed_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
        return torch.addcmul(self.bias, normed, self.weight)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, generators: list[torch.Generator], settings: Settings):
        super().__init__()
        d = settings.embed_dim
        self.heads = settings.heads
        self.rotary = settings.pos_encoding == "rotary"
        self.qkv = Linear(generators, d, 3 * d, INIT_STD)
        self.proj = Linear(generators, d, d, INIT_STD / math.sqrt(2 * settings.layers))

    def forward(self, x: torch.Tensor, batch: int, noise: Noise) -> torch.Tensor:
        s, n, d = x.shape
        length, head_dim = n // batch, d // self.heads
        qkv = self.qkv(x).view(s, batch, length, 3, self.heads, head_dim)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)  # each (S, B, heads, T, head_dim)
        if self.rotary:
            angles = rotary_angles(length, head_dim, x.device)
            query, key = apply_rotary(query, angles), apply_rotary(key, angles)
        scores = query @ key.transpose(-1, -2) / math.sqrt(head_dim)
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        weights = noise(scores.masked_fill(future, -math.inf).softmax(-1))
        mixed = (weights @ value).transpose(2, 3).reshape(s, n, d)
        return noise(self.proj(mixed))


class Block(nn.Module):
    """Pre-LN transformer block: attention and a four times wider MLP."""

    def __init__(self, generators: list[torch.Generator], settings: Settings):
        super().__init__()
        d = settings.embed_dim
        self.ln_1 = LayerNorm(len(generators), d)
        self.attention = Attention(generators, settings)
        self.ln_2 = LayerNorm(len(generators), d)
        self.fc = Linear(generators, d, 4 * d, INIT_STD)
        self.proj = Linear(generators, 4 * d, d, INIT_STD / math.sqrt(2 * settings.layers))

    def forward(self, x: torch.Tensor, batch: int, noise: Noise) -> torch.Tensor:
        x = x + self.attention(self.ln_1(x), batch, noise)
        hidden = F.gelu(self.fc(self.ln_2(x)), approximate="tanh")
        return x + noise(self.proj(hidden))


class GPT(nn.Module):
    """S independent GPT-2 models over a vocabulary of `vocabulary` tokens.

    `length` is the longest input in tokens; `generators` holds one initialisation
    stream per seed.
    """

    def __init__(
        self, settings: Settings, vocabulary: int, length: int, generators: list[torch.Generator]
    ):
        super().__init__()
        d = settings.embed_dim
        self.wte = nn.Parameter(stacked_normal(generators, (vocabulary, d), INIT_STD))
        self.wpe = None
        if settings.pos_encoding == "absolute":
            self.wpe = nn.Parameter(stacked_normal(generators, (length, d), INIT_STD))
        self.blocks = nn.ModuleList(Block(generators, settings) for _ in range(settings.layers))
        self.ln_f = LayerNorm(len(generators), d)
        self.head = None
        if not settings.tie_head:
            self.head = nn.Parameter(stacked_normal(generators, (d, vocabulary), INIT_STD))
        if settings.freeze_embeddings:
            self.wte.requires_grad_(False)
            if self.wpe is not None:
                self.wpe.requires_grad_(False)

    def forward(self, tokens: torch.Tensor, last: int, noise: Noise = no_dropout) -> torch.Tensor:
        """Logits (S, B, last, vocabulary) after the `last` final tokens of (S, B, T)."""
        s, batch, length = tokens.shape
        d = self.wte.shape[-1]
        index = tokens.reshape(s, -1, 1).expand(-1, -1, d)
        x = self.wte.gather(1, index)
        if self.wpe is not None:
            x = (x.view(s, batch, length, d) + self.wpe[:, None, :length]).view(s, -1, d)
        x = noise(x)
        for block in self.blocks:
            x = block(x, batch, noise)
        x = x.view(s, batch, length, d)[:, :, length - last :].reshape(s, batch * last, d)
        head = self.wte.transpose(1, 2) if self.head is None else self.head
        return torch.bmm(self.ln_f(x), head).view(s, batch, last, -1)

    def embeddings(self) -> torch.Tensor:
        """Token embeddings, shape (S, vocabulary, d)."""
        return self.wte.detach()
