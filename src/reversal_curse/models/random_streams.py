"""Random numbers by seed: one generator per replica, never a global one.

A seed's draws must not depend on which other seeds are trained beside it, so stacked tensors are
filled replica by replica.
"""

import hashlib

import torch


def derived_seed(seed: int, purpose: str) -> int:
    """Hash a replica's number and a `purpose` ("init", "order", ...) to a 63-bit seed."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_generators(
    seeds: list[int], purpose: str, device: torch.device | str = "cpu"
) -> list[torch.Generator]:
    """Make one generator per seed, on `device`, for one purpose."""
    return [torch.Generator(device).manual_seed(derived_seed(seed, purpose)) for seed in seeds]


def stacked_normal(
    generators: list[torch.Generator], shape: tuple[int, ...], std: float
) -> torch.Tensor:
    """Draw from N(0, std^2), shape (S, *shape)."""
    draws = torch.empty(len(generators), *shape, device=generators[0].device)
    for replica, generator in zip(draws, generators, strict=True):
        replica.normal_(0.0, std, generator=generator)
    return draws


def stacked_uniform(generators: list[torch.Generator], shape: tuple[int, ...]) -> torch.Tensor:
    """Draw uniformly from [0, 1), shape (S, *shape)."""
    draws = torch.empty(len(generators), *shape, device=generators[0].device)
    for replica, generator in zip(draws, generators, strict=True):
        replica.uniform_(generator=generator)
    return draws


def stacked_permutations(generators: list[torch.Generator], n: int) -> torch.Tensor:
    """Draw a permutation of 0..n-1 per seed, shape (S, n)."""
    return torch.stack([torch.randperm(n, generator=generator) for generator in generators])


def dropout_factors(generators: list[torch.Generator], count: int, rate: float) -> torch.Tensor:
    """Draw factors (S, count) of inverted dropout: 0 at the rate, 1 / (1 - rate) elsewhere.

    From 16 bits each: several times as fast as a number each, and rounds the rate to 1 / 65536.
    """
    shape = len(generators), -(-count // 4)
    words = torch.empty(shape, dtype=torch.int64, device=generators[0].device)
    for replica, generator in zip(words, generators, strict=True):
        replica.random_(-(2**63), None, generator=generator)
    dropped = min(round(rate * 2**16), 2**16 - 1)
    kept = words.view(torch.int16)[:, :count] >= dropped - 2**15
    return kept.float().mul_(2**16 / (2**16 - dropped))


class Masks:
    """Hands out the factors (S, count) of one step, one place in the model after the other."""

    def __init__(self, factors: torch.Tensor):
        self.factors = factors
        self.used = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply `x` of shape (S, ...) with the next factors."""
        start, self.used = self.used, self.used + x[0].numel()
        return x * self.factors[:, start : self.used].view(x.shape)


class Counter:
    """Counts the factors that a step needs for each seed, in place of `Masks`."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.count += x[0].numel()
        return x


def no_dropout(x: torch.Tensor) -> torch.Tensor:
    """The identity: what evaluation, and a rate of 0, use in place of `Masks`."""
    return x
