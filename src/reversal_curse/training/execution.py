"""Choose the precision of a run and whether it is compiled, with the reasons.

Both follow from the settings and the machine alone, never from a timing, so that a resumed run
continues in the same way.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from reversal_curse.config.cost import seconds
from reversal_curse.config.settings import Settings, meaningful
from reversal_curse.families import FAMILIES

WIDE = {"cpu": 128, "cuda": 256}
"""Embedding dimensions from which products in bfloat16 save more than the conversions cost."""
COMPILING = 10.0, 7.0
"""Seconds that compiling takes, and further seconds per layer: measured on two cores, where one
shape is compiled; a guess for a GPU."""
SAVED = {"cpu": 0.25, "cuda": 0.6}
"""The fraction of a run's time that compiling saves: measured on a CPU, a guess for a GPU."""


@dataclass(frozen=True)
class Machine:
    """What a device, and the system around it, can do."""

    device: str
    """`cpu` or `cuda`."""
    bfloat16: bool
    """Whether it has instructions for products in bfloat16."""
    missing: str
    """What `torch.compile` needs and this machine lacks; empty if nothing."""

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """Ask the device and the system."""
        on_gpu = device.type == "cuda"
        compiler = os.environ.get("CC", "gcc") if on_gpu else os.environ.get("CXX", "g++")
        missing = "" if shutil.which(compiler) else f"a compiler ({compiler})"
        if on_gpu:
            if not importlib.util.find_spec("triton"):
                missing = "the package triton"
            return cls("cuda", torch.cuda.get_device_capability(device) >= (8, 0), missing)
        cpu = Path("/proc/cpuinfo")  # only Linux has it
        flags = cpu.read_text(encoding="utf-8").split() if cpu.exists() else []
        return cls("cpu", not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags), missing)


@dataclass(frozen=True)
class Execution:
    """How a run is computed; the reasons go into the log and `run.json`."""

    precision: str
    precision_reason: str
    compiled: bool
    compiled_reason: str

    def run(
        self,
        function: Callable[..., Any],
        device: torch.device,
        then: Callable[[Any], Any] = lambda result: result,
    ) -> Callable[..., Any]:
        """Return `function` in the chosen precision, compiled if that was chosen.

        `then` is applied to its result, for instance to take gradients. If compiling fails, both
        run uncompiled. Weights and residual stream stay float32.
        """

        def cast(*inputs: Any) -> Any:
            enabled = self.precision == "bfloat16"
            with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                return function(*inputs)

        if self.compiled:
            return _compiled(cast, device, then)
        return lambda *inputs: then(cast(*inputs))


@cache
def chosen_execution(settings: Settings, device: torch.device) -> Execution:
    """Choose how to run on this machine, once, so that the log and training agree."""
    return execution(settings, Machine.of(device))


def execution(settings: Settings, machine: Machine) -> Execution:
    """Choose how to run on a given machine."""
    if "precision" not in meaningful(vars(settings)):
        fixed = FAMILIES[settings.family].precision
        return Execution(fixed, "fixed by the family", False, "too few operations to gain from it")
    return Execution(*_precision(settings, machine), *_compile(settings, machine))


def _precision(settings: Settings, machine: Machine) -> tuple[str, str]:
    asked, wide = settings.precision, settings.embed_dim >= WIDE[machine.device]
    wanted = ("bfloat16" if wide else "float32") if asked == "auto" else asked
    if wanted == "bfloat16" and not machine.bfloat16:
        return "float32", f"this {machine.device} has no bfloat16 instructions"
    reason = f"bfloat16 is faster from embed_dim {WIDE[machine.device]} up"
    return wanted, reason if asked == "auto" else "as asked"


def _compile(settings: Settings, machine: Machine) -> tuple[bool, str]:
    estimate = seconds(settings, "gpu" if machine.device == "cuda" else "cpu")
    pays = (COMPILING[0] + COMPILING[1] * settings.layers) / SAVED[machine.device]
    reason = f"about {estimate:.0f} s of training; compiling pays off from {pays:.0f} s"
    if settings.compile == "never":
        return False, "as asked"
    if settings.compile == "auto" and estimate < pays:
        return False, reason
    if machine.missing:
        return False, f"torch.compile lacks {machine.missing}"
    return True, "as asked" if settings.compile == "always" else reason


def _compiled(
    function: Callable[..., Any], device: torch.device, then: Callable[[Any], Any]
) -> Callable[..., Any]:
    """Compile `function` at its first call, or leave it as it is if that fails.

    On a GPU each shape is compiled, with CUDA graphs: results hold until the next call. On a CPU
    only the first shape is: compiling an epoch's smaller last batch would take half as long again.
    """
    # Imported here: these take more than a second, and few runs are compiled.
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    if device.type == "cuda":
        fast = torch.compile(function, dynamic=False, mode="reduce-overhead")
    else:
        # Skip Dynamo's guards, a fifth of a step at (4 layers, d = 128): what they check never
        # changes, with one model, one caller, and shapes that are compared below.
        fast = torch.compile(  # ty: ignore[no-matching-overload] - it declares fewer options
            function,
            dynamic=False,
            fullgraph=True,
            isolate_recompiles=True,
            options={"guard_filter_fn": torch.compiler.skip_all_guards_unsafe},
        )
    first: list[Any] | None = None

    def call(*inputs: Any) -> Any:
        nonlocal fast, first
        shapes = [one.shape if isinstance(one, torch.Tensor) else one for one in inputs]
        first = first or shapes
        if device.type == "cpu" and shapes != first:
            return then(function(*inputs))
        try:
            return then(fast(*inputs))
        except (TorchDynamoException, InductorError) as error:
            print(f"not compiled: torch.compile failed with {type(error).__name__}", flush=True)
            fast = function
            return then(function(*inputs))

    return call
