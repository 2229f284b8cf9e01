"""Random numbers by seed: what a seed draws does not depend on the other seeds of the batch."""

import hashlib

import torch

Streams = list[torch.Generator]
"""A generator for each seed, for one purpose."""


def derived_seed(seed: int, purpose: str) -> int:
    """Hash a seed and a `purpose` ("init", "order", ...) to 63 bits."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_generators(seeds: list[int], purpose: str, device: torch.device | str = "cpu") -> Streams:
    """Make one generator per seed, on `device`, for one purpose."""
    return [torch.Generator(device).manual_seed(derived_seed(seed, purpose)) for seed in seeds]


def stacked_normal(generators: Streams, shape: tuple[int, ...], std: float) -> torch.Tensor:
    """Draw from N(0, std^2), shape (S, *shape)."""
    return torch.stack([torch.empty(shape).normal_(0.0, std, generator=g) for g in generators])


def stacked_uniform(generators: Streams, shape: tuple[int, ...]) -> torch.Tensor:
    """Draw uniformly from [0, 1), shape (S, *shape)."""
    return torch.stack([torch.rand(shape, generator=g, device=g.device) for g in generators])


def stacked_permutations(generators: Streams, n: int) -> torch.Tensor:
    """Draw a permutation of 0..n-1 per seed, shape (S, n)."""
    return torch.stack([torch.randperm(n, generator=generator) for generator in generators])


def dropout_factors(generators: Streams, count: int, rate: float) -> torch.Tensor:
    """Draw factors (S, count) of inverted dropout: 0 with this rate, else 1 / (1 - rate).

    Drawing 16 bits for each (the rate is rounded to them) is several times faster than a float.
    """
    shape = len(generators), -(-count // 4)
    words = torch.empty(shape, dtype=torch.int64, device=generators[0].device)
    for replica, generator in zip(words, generators, strict=True):
        replica.random_(-(2**63), None, generator=generator)
    dropped = min(round(rate * 2**16), 2**16 - 1)
    kept = words.view(torch.int16)[:, :count] >= dropped - 2**15
    return kept.float().mul_(2**16 / (2**16 - dropped))


class Masks:
    """Hands out a step's dropout factors (S, count) in turn; without factors, counts them."""

    def __init__(self, factors: torch.Tensor | None = None):
        self.factors = factors
        self.used = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply `x` of shape (S, ...) by the next factors."""
        start, self.used = self.used, self.used + x[0].numel()
        return x if self.factors is None else x * self.factors[:, start : self.used].view(x.shape)


def no_dropout(x: torch.Tensor) -> torch.Tensor:
    """Return `x`: evaluation, and a rate of 0, use it in place of `Masks`."""
    return x
