"""Load a checked checkpoint through transformers, and ask the model for logits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from reversal_curse.errors import UserError, first_line
from reversal_curse.pretrained.checkpoint import INSTALL, Checkpoint, check_memory
from reversal_curse.pretrained.entry import PretrainedModel
from reversal_curse.pretrained.own_code import load_own_code
from reversal_curse.training.device import training_devices
from reversal_curse.training.memory import free_bytes


@dataclass
class Loaded:
    """A model with its tokenizer."""

    entry: PretrainedModel
    model: torch.nn.Module
    tokenizer: Any
    mask: int | None
    """Id of the mask token; None for a causal model."""
    device: torch.device
    """Where its inputs go."""

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, V), float32, of the token at each position of `tokens` (B, T).

        Where the model's output is about the next token (causal ones, Dream) they are moved by
        one; what then stands at the first position means nothing. The mask is no answer.
        """
        logits = self.model(input_ids=tokens.to(self.device)).logits.float()
        if self.entry.causal or self.entry.shifted:
            logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
        if self.mask is not None:
            blocked = torch.tensor([self.mask], device=logits.device)
            logits = logits.index_fill(-1, blocked, -torch.inf)
        return logits

    def words(self) -> int:
        """How many tokens a guess would choose among."""
        return len(self.tokenizer)


def places(entry: PretrainedModel, checkpoint: Checkpoint) -> dict[torch.device, int]:
    """The devices that the model goes to, the first with its inputs, and the bytes free on each.

    Raises UserError where they are too few or too small.
    """
    devices = training_devices(entry.gpus)
    if devices[0].type == "cuda" and len(devices) < entry.gpus:
        raise UserError(
            f"{entry.name}: gpus: {entry.gpus} are asked for and {len(devices)} are there"
        )
    free = {device: free_bytes(device) for device in devices}
    check_memory(entry, checkpoint.parameters, sum(free.values()), devices[0].type)
    return free


def check_loadable(entry: PretrainedModel, checkpoint: Checkpoint, tokenizer: Any) -> None:
    """Refuse what can be known to fail before weights are downloaded or read."""
    mask = _mask(entry, checkpoint, tokenizer)
    if mask is not None and checkpoint.vocabulary is not None and mask >= checkpoint.vocabulary:
        raise UserError(
            f"{entry.name}: mask_token_id {mask}: the model has {checkpoint.vocabulary} tokens"
        )
    if entry.trained == "lora" and find_spec("peft") is None:
        raise UserError(f"{entry.name}: method lora: {INSTALL}")
    places(entry, checkpoint)


def _mask(entry: PretrainedModel, checkpoint: Checkpoint, tokenizer: Any) -> int | None:
    """Id of the mask token; None for a causal model."""
    if entry.causal:
        return None
    said = (entry.mask_token_id, tokenizer.mask_token_id, checkpoint.mask_token_id)
    mask = next((token for token in said if token is not None), None)
    if mask is None:
        raise UserError(f"{entry.name}: the tokenizer has no mask token; say mask_token_id")
    return mask


def load_tokenizer(entry: PretrainedModel, checkpoint: Checkpoint) -> Any:
    """The tokenizer of a checkpoint."""
    return _from_folder("AutoTokenizer", entry, checkpoint)


def load(entry: PretrainedModel, checkpoint: Checkpoint, tokenizer: Any) -> Loaded:
    """The model of an entry, in evaluation mode; raises UserError where it cannot be had."""
    mask = _mask(entry, checkpoint, tokenizer)
    free = places(entry, checkpoint)
    device = next(iter(free))
    options: dict[str, Any] = {"dtype": getattr(torch, entry.dtype)}
    if len(free) > 1:
        options["device_map"] = "auto"
        options["max_memory"] = {place.index: there for place, there in free.items()}
    elif device.type == "cuda":  # with the weights going there as they are read
        options["device_map"] = {"": device}
    model = _from_folder(checkpoint.auto_class, entry, checkpoint, **options)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    size = model.get_input_embeddings().weight.shape[0]
    if mask is not None and mask >= size:
        raise UserError(f"{entry.name}: mask_token_id {mask}: the model has {size} tokens")
    return Loaded(entry, model.eval(), tokenizer, mask, device)


def _from_folder(
    auto_class: str, entry: PretrainedModel, checkpoint: Checkpoint, **options: Any
) -> Any:
    """Load by a class of transformers, from the folder and nowhere else."""
    # The folder is whole: whatever else is asked for on the network would be a surprise. It is
    # read when the library is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import transformers
    except ImportError:
        raise UserError(f"{entry.name}: {INSTALL}") from None
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        local = {"local_files_only": True, "trust_remote_code": entry.trust_remote_code}
        from_pretrained = getattr(transformers, auto_class).from_pretrained
        if auto_class == "AutoTokenizer":
            return from_pretrained(checkpoint.folder, **local)
        if checkpoint.own_code:
            return load_own_code(checkpoint, **options)
        model, said = from_pretrained(
            checkpoint.folder, output_loading_info=True, **local, **options
        )
        if said["missing_keys"]:  # they would be made up, without a word
            raise ValueError(f"its weights lack {sorted(said['missing_keys'])[0]}")
        return model
    except Exception as error:  # whatever code and files of others raise
        raise UserError(
            f"{entry.name}: {checkpoint.folder}: {auto_class} of transformers "
            f"{transformers.__version__} cannot load it: {first_line(error)}"
        ) from None
