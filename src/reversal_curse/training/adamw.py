"""AdamW (Loshchilov and Hutter 2019) over stacked parameters, in one fused kernel."""

from __future__ import annotations

import torch

from reversal_curse.settings import Settings

EPSILON = 1e-8


class AdamW:
    """Updates `parameters` in place; the update is elementwise, so each seed's is its own.

    The kernel is that of `torch.optim.AdamW(fused=True)`, and so are the numbers. Called without
    its class, which costs half a millisecond of Python in each step, and 1.5 seconds at the start
    for a compiler that it imports.
    """

    def __init__(self, parameters: dict[str, torch.Tensor], settings: Settings):
        self.parameters = list(parameters.values())
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = torch.zeros((), device=self.parameters[0].device)
        self.constants = {
            "lr": settings.learning_rate,
            "beta1": settings.beta1,
            "beta2": settings.beta2,
            "weight_decay": settings.weight_decay,
        }
        self.names = list(parameters)

    @torch.no_grad()
    def step(self, gradients: tuple[torch.Tensor, ...]) -> None:
        """One step along gradients in the order of the parameters."""
        self.steps += 1
        torch._fused_adamw_(
            self.parameters,
            [gradient.contiguous() for gradient in gradients],  # the kernel reads memory in order
            self.first,
            self.second,
            [],
            [self.steps] * len(self.parameters),
            **self.constants,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """What a step changes beside the parameters, by name."""
        state = {"adamw.steps": self.steps}
        for name, first, second in zip(self.names, self.first, self.second, strict=True):
            state |= {f"adamw.first.{name}": first, f"adamw.second.{name}": second}
        return state
