"""Positional encodings that act inside attention."""

import torch


def rotary_angles(length: int, features: int, device: torch.device) -> torch.Tensor:
    """Compute angles m * theta_j, shape (T, features / 2), theta_j = 10000^(-2j / features).

    Su et al. 2021, "RoFormer", equation 15.
    """
    exponents = torch.arange(0, features, 2, device=device, dtype=torch.float32) / features
    positions = torch.arange(length, device=device, dtype=torch.float32)
    return positions[:, None] * 10000.0**-exponents


def apply_rotary(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate the first r features of queries or keys (..., T, head_dim) by `angles` (T, r / 2).

    Neighbouring features (2j, 2j + 1) form the rotated plane, as in RoFormer.
    """
    rotated = 2 * angles.shape[-1]
    even, odd = x[..., 0:rotated:2], x[..., 1:rotated:2]
    cos, sin = angles.cos(), angles.sin()
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
    return turned if rotated == x.shape[-1] else torch.cat((turned, x[..., rotated:]), dim=-1)


def alibi_bias(length: int, heads: int, device: torch.device) -> torch.Tensor:
    """Compute biases -m_h |i - j|, shape (heads, T, T), m_h = 2^(-8 h / heads), h = 1 .. heads.

    Press et al. 2022, "Train Short, Test Long", section 3; symmetric, for bidirectional attention.
    """
    slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=device) / heads)
    positions = torch.arange(length, device=device)
    return -slopes[:, None, None] * (positions[:, None] - positions[None, :]).abs()
