"""A transformer whose parameters have a seed dimension, so that one product serves all seeds.

As in GPT-2 (Radford et al. 2019): pre-LN blocks, tanh GELU, N(0, 0.02^2), residual projections
scaled by 1 / sqrt(2 L). With `causal`: the `gpt` family (Zhu et al. 2024, section 5, with an untied
head); without: the encoder of the `masked_diffusion` family.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reversal_curse.config.settings import Settings
from reversal_curse.models.positions import alibi_bias, apply_rotary, rotary_angles
from reversal_curse.models.random_streams import Streams, no_dropout, stacked_normal

INIT_STD = 0.02

Noise = Callable[[torch.Tensor], torch.Tensor]
Part = tuple[str, slice]
"""A parameter's name, and a slice of its last dimension."""
Asked = int | torch.Tensor
"""The tokens whose output is computed: the last n (an int), or those at positions (S, B, n)."""
Padding = torch.Tensor | None
"""Which tokens (S, B, T) only fill a sentence up; None if none does."""
FEW = 4
"""Up to this many inner products per head and sentence, an elementwise product and a sum are faster
than a product of tiny matrices: twice as fast on a CPU, for sentences of two tokens."""
_GROUPS = {"ln_": "norms", "attention.proj": "values", "fc.": "mlp", "proj.": "mlp"}
_GROUPS |= {"wte": "embeddings", "wpe": "embeddings", "head": "head"}
"""Groups of parameters by a part of their name; the first match counts; `qkv` is split."""


class Linear(nn.Module):
    """S affine maps, one per seed: (S, N, inputs) to (S, N, outputs)."""

    def __init__(self, generators: Streams, inputs: int, outputs: int, std: float):
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
        normed = F.layer_norm(x, x.shape[-1:], eps=1e-5)
        return torch.addcmul(self.bias, normed, self.weight)


class Attention(nn.Module):
    """Multi-head self-attention; if `causal`, later tokens are hidden."""

    def __init__(self, generators: Streams, settings: Settings, causal: bool):
        super().__init__()
        d = settings.embed_dim
        self.heads = settings.heads
        self.pos_encoding = settings.pos_encoding
        turned = settings.rotary_fraction if self.pos_encoding == "rotary" else 0.0
        self.rotated = round(turned * d / settings.heads)
        self.causal = causal
        self.qkv = Linear(generators, d, 3 * d, INIT_STD)
        self.proj = Linear(generators, d, d, INIT_STD / math.sqrt(2 * settings.layers))

    def forward(
        self, x: torch.Tensor, batch: int, asked: Asked, noise: Noise, padding: Padding
    ) -> torch.Tensor:
        """Compute what attention adds at the n asked tokens: (S, B * n, d)."""
        scores, value = self.scores(x, batch, asked, padding)
        mixed = weighted_sums(noise(scores.softmax(-1)), value)  # (S, B, heads, n, head_dim)
        return noise(self.proj(mixed.transpose(2, 3).flatten(3).flatten(1, 2)))

    def scores(
        self, x: torch.Tensor, batch: int, asked: Asked, padding: Padding = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute scores (S, B, heads, n, T), before the softmax, and values (..., T, head_dim)."""
        s, n, d = x.shape
        length, head_dim = n // batch, d // self.heads
        qkv = self.qkv(x).view(s, batch, length, 3, self.heads, head_dim)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)  # each (S, B, heads, T, head_dim)
        if self.pos_encoding == "rotary":
            angles = rotary_angles(length, self.rotated, x.device)
            query, key = apply_rotary(query, angles), apply_rotary(key, angles)
        if isinstance(asked, int):
            query = query[..., length - asked :, :]
        else:
            index = asked[:, :, None, :, None].expand(-1, -1, self.heads, -1, head_dim)
            query = query.gather(3, index)
        scores = inner_products(query, key) / math.sqrt(head_dim)
        if self.pos_encoding == "alibi":
            scores = scores + _rows(alibi_bias(length, self.heads, x.device), asked)
        if self.causal and (not isinstance(asked, int) or asked > 1):
            future = torch.ones(1, length, length, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(_rows(future, asked), -math.inf)
        if padding is not None:  # finite: what comes before the sentence attends to itself
            scores = scores.masked_fill(padding[:, :, None, None], -1e9)
        return scores, value


def _rows(table: torch.Tensor, asked: Asked) -> torch.Tensor:
    """Select the asked queries' rows of (heads, T, T): (heads, n, T) or (S, B, heads, n, T)."""
    if isinstance(asked, int):
        return table[:, table.shape[1] - asked :]
    return table[:, asked].permute(1, 2, 0, 3, 4)


def inner_products(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Multiply each query (..., n, h) by each key (..., m, h): (..., n, m)."""
    *lead, n, h = query.shape
    m = key.shape[-2]
    if n == 1 or n * m <= FEW:
        return (query.unsqueeze(-2) * key.unsqueeze(-3)).sum(-1)
    return torch.bmm(query.reshape(-1, n, h), key.reshape(-1, m, h).mT).view(*lead, n, m)


def weighted_sums(weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Sum the values (..., m, h) with weights (..., n, m): (..., n, h)."""
    *lead, n, m = weights.shape
    h = value.shape[-1]
    if n == 1 or n * m <= FEW:
        return (weights.unsqueeze(-1) * value.unsqueeze(-3)).sum(-2)
    return torch.bmm(weights.reshape(-1, n, m), value.reshape(-1, m, h)).view(*lead, n, h)


class Block(nn.Module):
    """Pre-LN transformer block: attention, and an MLP four times as wide, if there is one."""

    def __init__(self, generators: Streams, settings: Settings, causal: bool):
        super().__init__()
        d = settings.embed_dim
        self.ln_1 = LayerNorm(len(generators), d)
        self.attention = Attention(generators, settings, causal)
        self.mlp = settings.mlp
        if self.mlp:
            self.ln_2 = LayerNorm(len(generators), d)
            self.fc = Linear(generators, d, 4 * d, INIT_STD)
            self.proj = Linear(generators, 4 * d, d, INIT_STD / math.sqrt(2 * settings.layers))

    def forward(
        self, x: torch.Tensor, batch: int, asked: Asked, noise: Noise, padding: Padding
    ) -> torch.Tensor:
        """Compute the residual stream (S, B * n, d) at the n asked tokens; `x` has all."""
        x = at_tokens(x, batch, asked) + self.attention(self.ln_1(x), batch, asked, noise, padding)
        if not self.mlp:
            return x
        hidden = F.gelu(self.fc(self.ln_2(x)), approximate="tanh")
        return x + noise(self.proj(hidden))


def at_tokens(x: torch.Tensor, batch: int, asked: Asked) -> torch.Tensor:
    """Select the n asked tokens of every sentence: (S, B * T, d) to (S, B * n, d)."""
    s, tokens, d = x.shape
    length = tokens // batch
    if not isinstance(asked, int):
        first = torch.arange(0, tokens, length, device=x.device)  # of each sentence
        place = (asked + first[:, None]).flatten(1)
        return x.gather(1, place[..., None].expand(-1, -1, d))
    if asked == length:
        return x
    return x.view(s, batch, length, d)[:, :, length - asked :].reshape(s, batch * asked, d)


class Transformer(nn.Module):
    """S independent transformers over `vocabulary` tokens, for inputs of at most `length`.

    `generators` has one stream per seed; `causal` hides later tokens from earlier ones. `pad` is
    the token that fills sentences up, in front; positions count from a sentence's first token, or,
    right-aligned, from that of the longest one.
    """

    def __init__(
        self,
        settings: Settings,
        vocabulary: int,
        length: int,
        generators: Streams,
        causal: bool,
        pad: int | None = None,
    ):
        super().__init__()
        d = settings.embed_dim
        self.pad = pad
        self.aligned_left = settings.alignment == "left"
        self.wte = nn.Parameter(stacked_normal(generators, (vocabulary, d), INIT_STD))
        self.wpe = None
        if settings.pos_encoding == "absolute":
            self.wpe = nn.Parameter(stacked_normal(generators, (length, d), INIT_STD))
        self.blocks = nn.ModuleList(
            Block(generators, settings, causal) for _ in range(settings.layers)
        )
        self.ln_f = LayerNorm(len(generators), d)
        self.head = None
        if not settings.tie_head:
            self.head = nn.Parameter(stacked_normal(generators, (d, vocabulary), INIT_STD))
        for embedding in (self.wte, self.wpe):
            if embedding is not None:
                embedding.requires_grad_(not settings.freeze_embeddings)

    def forward(
        self, tokens: torch.Tensor, asked: Asked, noise: Noise = no_dropout
    ) -> torch.Tensor:
        """Compute logits (S, B, n, vocabulary) at the n asked tokens of (S, B, T)."""
        s, batch, length = tokens.shape
        padding = None if self.pad is None else tokens == self.pad
        x = noise(self.embed(tokens))
        for block in self.blocks[:-1]:
            x = block(x, batch, length, noise, padding)
        x = self.blocks[-1](x, batch, asked, noise, padding)
        head = self._output_head()
        with torch.autocast(tokens.device.type, enabled=False):  # in the precision of the weights
            return torch.bmm(self.ln_f(x), head).view(s, batch, -1, head.shape[-1])

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed tokens and, if absolute, positions: (S, B * T, d)."""
        s, batch, length = tokens.shape
        d = self.wte.shape[-1]
        x = self.wte.gather(1, tokens.reshape(s, -1, 1).expand(-1, -1, d))
        if self.wpe is None:
            return x
        if self.pad is None or not self.aligned_left:
            return (x.view(s, batch, length, d) + self.wpe[:, None, :length]).view(s, -1, d)
        before = (tokens == self.pad).sum(-1, keepdim=True)
        place = (torch.arange(length, device=tokens.device) - before).clamp(min=0)
        return x + self.wpe.gather(1, place.view(s, -1, 1).expand(-1, -1, d))

    def embeddings(self) -> torch.Tensor:
        """Return the token embeddings, shape (S, vocabulary, d)."""
        return self.wte.detach()

    def scores_and_values(
        self, tokens: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield each layer's scores (S, B, heads, T, T), before the softmax, queries to keys, and
        values (S, B, heads, T, head_dim)."""
        _, batch, length = tokens.shape
        x = self.embed(tokens)
        blocks: Any = self.blocks
        for block in blocks:
            yield block.attention.scores(block.ln_1(x), batch, length)
            x = block(x, batch, length, no_dropout, None)

    def logits_of_values(self, layer: int) -> torch.Tensor:
        """Map a layer's values straight to logits: W_O W_U, (S, heads, head_dim, vocabulary).

        Of the last LayerNorm only what is linear is kept: it subtracts the mean and has a gain.
        """
        block: Any = self.blocks[layer]
        written = block.attention.proj.weight.unflatten(1, (block.attention.heads, -1))
        centred = written - written.mean(-1, keepdim=True)
        return (centred * self.ln_f.weight[:, None]) @ self._output_head()[:, None]

    def _output_head(self) -> torch.Tensor:
        return self.wte.transpose(1, 2) if self.head is None else self.head

    def parameter_groups(self) -> dict[str, list[Part]]:
        """Group trained parameters by what they do: `all`, then a partition; none is empty."""
        groups: dict[str, list[Part]] = {"all": []}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            groups["all"].append((name, slice(None)))
            if "attention.qkv" in name:
                keys_end = parameter.shape[-1] // 3 * 2
                groups.setdefault("attention", []).append((name, slice(keys_end)))
                groups.setdefault("values", []).append((name, slice(keys_end, None)))
            else:
                group = next(group for part, group in _GROUPS.items() if part in name)
                groups.setdefault(group, []).append((name, slice(None)))
        return groups
