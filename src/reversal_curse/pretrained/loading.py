"""Load a checked checkpoint through transformers, and ask the model for logits.

Code that comes with a checkpoint (LLaDA's, iLLaDA's, Dream's) is written for version 4.
`from_pretrained` of version 5 expects more of a class, and silently loses numbers that its
constructor computes (Dream's rotary frequencies) or draws weights anew. So we call the constructor
of such a model, load the weights into it, and refuse it if they do not fill it.
"""

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch

from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained.model_folder import ModelFolder, check_memory
from reversal_curse.training.gpus import training_devices
from reversal_curse.training.memory import free_bytes


@dataclass
class Loaded:
    """A model, its tokenizer, the id of its mask token (None: causal), and where inputs go."""

    entry: PretrainedModel
    model: Any
    tokenizer: Any
    mask: Any
    device: torch.device

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute the logits (B, T, V), float32, of all tokens; the first may be meaningless."""
        logits = self.model(input_ids=tokens.to(self.device)).logits.float()
        if self.entry.causal or self.entry.shifted:
            logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
        if self.mask is None:
            return logits
        return logits.index_fill(-1, torch.tensor(self.mask, device=logits.device), -torch.inf)


def check_loadable(checkpoint: ModelFolder, tokenizer: Any) -> dict[torch.device, int]:
    """Refuse what would fail, before weights are read; return the devices and their free bytes."""
    entry = checkpoint.entry
    _mask(checkpoint, tokenizer, checkpoint.config.get("vocab_size"))
    devices = training_devices(entry.gpus)
    if devices[0].type == "cuda" and len(devices) < entry.gpus:
        raise entry.error(f"gpus must be at most {len(devices)} here, got {entry.gpus}")
    free = {device: free_bytes(device) for device in devices}
    check_memory(entry, checkpoint.parameters, sum(free.values()), devices[0].type)
    return free


def _mask(checkpoint: ModelFolder, tokenizer: Any, size: int | None) -> int | None:
    """Find the id of the mask token in a model of `size` tokens; None for a causal model."""
    entry = checkpoint.entry
    if entry.causal:
        return None
    ids = (entry.mask_token_id, tokenizer.mask_token_id, checkpoint.config.get("mask_token_id"))
    mask = next((token for token in ids if token is not None), None)
    if mask is None:
        raise entry.error("the tokenizer has no mask token; set mask_token_id")
    if size is not None and not 0 <= mask < size:
        raise entry.error(f"mask_token_id must be below {size}, the number of tokens, got {mask}")
    return mask


def load(checkpoint: ModelFolder, tokenizer: Any) -> Loaded:
    """Load the model in evaluation mode; raises UserError if it cannot be loaded."""
    free = check_loadable(checkpoint, tokenizer)
    device, options = next(iter(free)), {}
    if len(free) > 1:
        bytes_by_gpu = {gpu.index: size for gpu, size in free.items()}
        options = {"device_map": "auto", "max_memory": bytes_by_gpu}
    elif device.type == "cuda":  # weights go there as they are read
        options = {"device_map": {"": device}}
    dtype = getattr(torch, checkpoint.entry.dtype)
    model = from_folder(checkpoint, checkpoint.auto_class, dtype=dtype, **options)
    model.config.use_cache = False
    mask = _mask(checkpoint, tokenizer, model.get_input_embeddings().weight.shape[0])
    return Loaded(checkpoint.entry, model.eval(), tokenizer, mask, device)


def from_folder(checkpoint: ModelFolder, auto_class: str = "AutoTokenizer", **options: Any) -> Any:
    """Load a model or tokenizer by its class of transformers, from the folder alone."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    entry, folder = checkpoint.entry, checkpoint.folder
    options |= {"local_files_only": True, "trust_remote_code": entry.trust_remote_code}
    try:
        from_pretrained = getattr(transformers, auto_class).from_pretrained
        if auto_class == "AutoTokenizer":
            return _tried(from_pretrained(folder, **options))
        if checkpoint.own_code:
            return _load_own_code(checkpoint, **options)
        options |= {"output_loading_info": True, "use_safetensors": True}
        model, report = from_pretrained(folder, **options)
        if report["missing_keys"]:  # transformers would fill them with random numbers
            raise ValueError(f"its weights lack {min(report['missing_keys'])}")
        return model
    except Exception as error:  # files and code of others can raise anything
        library = f"{auto_class} of transformers {transformers.__version__}"
        raise entry.error(f"{folder}: {library} cannot load it", error) from None


def _tried(tokenizer: Any) -> Any:
    """Use a tokenizer once: entries of other types than it expects would fail only later."""
    tokenizer("an unlikely word")
    for token in (tokenizer.unk_token_id, tokenizer.mask_token_id):
        if not isinstance(token, int | None):
            raise TypeError(f"its special tokens must be single ones, got {token}")
    return tokenizer


def _load_own_code(
    checkpoint: ModelFolder, dtype: torch.dtype, device_map: Any = None, **options: Any
) -> Any:
    """Load a model as `from_pretrained` does; raises ValueError if its weights do not fit."""
    import transformers
    from huggingface_hub import load_torch_model
    from transformers.dynamic_module_utils import get_class_from_dynamic_module
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    from transformers.modeling_utils import local_torch_dtype

    max_memory = options.pop("max_memory", None)
    config = transformers.AutoConfig.from_pretrained(checkpoint.folder, **options)
    config.use_cache = False  # in version 4 every config has this key
    name = config.auto_map[checkpoint.auto_class]
    model_class: Any = get_class_from_dynamic_module(name, checkpoint.folder)
    model_class._tied_weights_keys = None  # iLLaDA's is a list, which version 5 cannot read
    # Version 5 no longer lists plain rotary positions. They are added for this call only, because
    # the models of transformers check whether they are listed.
    rope = {"default": _default_rope} | ROPE_INIT_FUNCTIONS
    with local_torch_dtype(dtype), patch.dict(ROPE_INIT_FUNCTIONS, rope):
        model = model_class(config)
    report: Any = load_torch_model(model, checkpoint.folder, safe=True)
    if report.unexpected_keys:
        raise ValueError(f"its weights have {report.unexpected_keys[0]}, which its code has not")
    missing = {*report.missing_keys}
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = getattr(config, "tie_word_embeddings", False)
    if tied and (missing or torch.equal(head.weight, words.weight)):  # some files have both
        head.weight = words.weight
        missing &= {name for name, _ in model.named_parameters()}  # lists a tied weight once
    if missing:
        raise ValueError(f"its weights lack {min(missing)}")
    model.requires_grad_()
    if device_map == "auto":
        from accelerate import dispatch_model

        return dispatch_model(model, spread(model, max_memory))
    return model.to(device_map[""]) if device_map else model


def _default_rope(config: Any, device: Any = None, **_: Any) -> tuple[torch.Tensor, float]:
    """Compute the frequencies of plain rotary positions, as transformers 4 did (`default`)."""
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    places = torch.arange(0, dim, 2, dtype=torch.int64, device=device).float()
    return 1.0 / (config.rope_theta ** (places / dim)), 1.0


def spread(model: Any, max_memory: dict) -> dict[str, Any]:
    """Map the parts of a model to the GPUs of `max_memory` (bytes), about evenly."""
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    whole = model._no_split_modules
    even = get_balanced_memory(model, max_memory=max_memory, no_split_module_classes=whole)
    return infer_auto_device_map(model, max_memory=even, no_split_module_classes=whole)
