"""Steps of the optimizers; all elementwise or by seed, so that seeds stay independent.

`adamw`: Loshchilov and Hutter 2019. `sgd`: with Nesterov's momentum. `muon`: Jordan et al.
2024, with the step size of Liu et al. 2025 (arXiv 2502.16982), so that AdamW's learning rate serves
both; embeddings, head, norms and biases are AdamW's. Weight decay is decoupled in all three.
"""

from collections.abc import Callable, Sequence

import torch
from torch.optim.adamw import adamw

from reversal_curse.config.settings import Settings

Update = Callable[[Sequence[torch.Tensor]], None]
"""Changes the parameters in place, given their gradients."""


def start(
    settings: Settings, trained: dict[str, torch.Tensor]
) -> tuple[Update, dict[str, torch.Tensor]]:
    """Return the update of the trained parameters (by name), and the tensors of its state."""
    matrices = [name for name in trained if name.startswith("blocks") and name.endswith("weight")]
    matrices = [name for name in matrices if min(trained[name].shape[1:]) > 1]
    own = {"adamw": [], "sgd": list(trained), "muon": matrices}[settings.optimizer]
    others = [name for name in trained if name not in own]
    means = {f"{settings.optimizer}.mean.{name}": torch.zeros_like(trained[name]) for name in own}
    shrink = 1 - settings.learning_rate * settings.weight_decay
    adamw_update, state = _adamw(settings, {name: trained[name] for name in others})
    direction = _orthogonal if settings.optimizer == "muon" else lambda mean: mean

    @torch.no_grad()
    def update(gradients: Sequence[torch.Tensor]) -> None:
        found = dict(zip(trained, gradients, strict=True))
        if others:
            adamw_update([found[name] for name in others])
        for name, mean in zip(own, means.values(), strict=True):
            mean.mul_(settings.momentum).add_(found[name])
            ahead = found[name].add(mean, alpha=settings.momentum)  # Nesterov
            trained[name].mul_(shrink).sub_(direction(ahead), alpha=settings.learning_rate)

    return update, {**state, **means}


def _adamw(
    settings: Settings, trained: dict[str, torch.Tensor]
) -> tuple[Update, dict[str, torch.Tensor]]:
    parameters = list(trained.values())
    first = {f"adamw.first.{name}": torch.zeros_like(p) for name, p in trained.items()}
    second = {f"adamw.second.{name}": torch.zeros_like(p) for name, p in trained.items()}
    device = parameters[0].device if parameters else None
    steps = torch.zeros(len(parameters), device=device)
    moments = list(first.values()), list(second.values())
    step_of_each = list(steps.unbind())

    def update(gradients: Sequence[torch.Tensor]) -> None:
        # The function behind the class AdamW: the class would first spend 1.5 seconds on an import.
        adamw(
            parameters,
            [gradient.contiguous() for gradient in gradients],  # the kernel reads memory in order
            *moments,
            [],
            step_of_each,
            fused=True,
            lr=settings.learning_rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            weight_decay=settings.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    return update, {"adamw.steps": steps, **first, **second}


def _orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Set the singular values of each matrix of (S, m, n) to about 1, times 0.2 sqrt(max(m, n)).

    Five Newton-Schulz steps (Jordan et al. 2024).
    """
    m, n = matrices.shape[1:]
    x = matrices.mT if m > n else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return 0.2 * max(m, n) ** 0.5 * (x.mT if m > n else x)
