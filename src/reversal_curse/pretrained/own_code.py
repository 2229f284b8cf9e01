"""Load a model whose code comes with its checkpoint, written for an older transformers.

LLaDA's and Dream's are of version 4. What `from_pretrained` of version 5 asks of a class they do
not have, and where it makes a model without memory first, numbers that a constructor computes
(Dream's rotary frequencies) are lost without a word. So the model is made by its constructor, and
the weights are put into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reversal_curse.pretrained.checkpoint import Checkpoint, weight_files


def load_own_code(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    device_map: Any = None,
    max_memory: dict[int, int] | None = None,
) -> Any:
    """The model; raises ValueError where its weights do not fit its code.

    As in `from_pretrained`, `device_map` "auto" spreads it evenly over the GPUs of `max_memory`
    (bytes); else it is a device, under the key "".
    """
    import transformers
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    config = transformers.AutoConfig.from_pretrained(
        checkpoint.folder, trust_remote_code=True, local_files_only=True
    )
    if not hasattr(config, "use_cache"):  # every config of version 4 has it
        config.use_cache = False
    written = get_class_from_dynamic_module(
        config.auto_map[checkpoint.auto_class], checkpoint.folder
    )
    with _as_in_version_4(dtype):
        model = written(config)
    _put_weights(model, checkpoint, dtype)
    if device_map == "auto":
        from accelerate import dispatch_model

        return dispatch_model(model, spread(model, max_memory))
    return model.to(device_map[""]) if device_map else model


def spread(model: Any, max_memory: dict[int, int]) -> dict[str, int]:
    """Which of the GPUs of `max_memory` each part of a model goes to, about the same on each."""
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    whole = model._no_split_modules
    even = get_balanced_memory(model, max_memory=max_memory, no_split_module_classes=whole)
    return infer_auto_device_map(model, max_memory=even, no_split_module_classes=whole)


@contextmanager
def _as_in_version_4(dtype: torch.dtype) -> Iterator[None]:
    """Weights of `dtype`, and plain rotary positions under their old name.

    Only meanwhile: models that come with transformers look whether the name is there.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    missing = "default" not in ROPE_INIT_FUNCTIONS
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    if missing:
        ROPE_INIT_FUNCTIONS["default"] = _default_rope
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_default_dtype(before)
        if missing:
            del ROPE_INIT_FUNCTIONS["default"]


def _put_weights(model: Any, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    from safetensors.torch import load_file

    left = set(model.state_dict())
    for path in weight_files(checkpoint.folder):
        part = {name: value.to(dtype) for name, value in load_file(path).items()}
        unknown = sorted(part.keys() - left)
        if unknown:
            raise ValueError(f"{path.name} has {unknown[0]}, its code has not")
        model.load_state_dict(part, strict=False, assign=True)
        left -= part.keys()
    if left and getattr(model.config, "tie_word_embeddings", False):
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
        tied = {name for name in left if name not in dict(model.named_parameters())}
        left -= tied
    if left:
        raise ValueError(f"its weights lack {sorted(left)[0]}")
    for parameter in model.parameters():
        parameter.requires_grad_()


def _default_rope(config: Any, device: Any = None, **_: Any) -> tuple[torch.Tensor, float]:
    """Frequencies of plain rotary positions, as transformers 4 had them under `default`."""
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    places = torch.arange(0, dim, 2, dtype=torch.int64, device=device).float()
    return 1.0 / (config.rope_theta ** (places / dim)), 1.0
