"""One entry of the config key `pretrained`: a model, how it is loaded and how it is fine-tuned."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.settings import (
    BRIDGES,
    DEFAULTS,
    MAX_COUNT,
    PRINTABLE,
    Name,
    Strict,
    in_words,
    left_out,
)
from reversal_curse.tasks.masking_arms import MASKINGS

MEASURED = ("answers", "scores", "gradients")
"""Tables that a probed model writes."""
REMEDIES = ("bridge", "reversal", "forward_copies")
"""Settings that decide what is trained on besides the forward statements."""


def _possible(path: str) -> str:
    if max(len(part.encode()) for part in path.split("/")) > 255:
        raise PydanticCustomError("path", "must have at most 255 bytes between two slashes")
    return path


_Path = Annotated[str, Field(min_length=1, max_length=1000), PRINTABLE, AfterValidator(_possible)]
_PART = r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*"
_Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
_Natural = Annotated[int, Field(ge=0, le=MAX_COUNT)]


class PretrainedModel(Strict):
    """A pretrained model to probe, before and after fine-tuning on the forward statements.

    A remedy against the curse adds to them (`pretrained/remedies.py`); it is an entry of its own.
    """

    name: Name
    """what paths, tables and figures call it"""
    kind: Literal["masked_diffusion", "masked_lm", "causal"]
    """`masked_diffusion` (LLaDA, iLLaDA, Dream), `masked_lm` (BERT) or `causal` (GPT-2)"""
    path: _Path = left_out("folder of the checkpoint in Hugging Face's format")
    hub: Annotated[str, Field(pattern=f"^{_PART}/{_PART}$", max_length=96)] = left_out(
        "in place of `path`: its id on Hugging Face's hub; nothing else is downloaded"
    )
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] = left_out(
        "full commit on the hub, or digest of the files in `path` but the weights (the error "
        "message gives it)"
    )
    billion_parameters: Annotated[float, Field(gt=0, lt=1e6)] = left_out(
        "its size, which decides the memory to ask for; needed with `hub`, else read from the files"
    )
    trust_remote_code: bool = False
    """whether to run the code that comes with the checkpoint (LLaDA, iLLaDA, Dream); pin it"""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """type of the weights; 16 bits are too coarse for the gradient step: `actual_change` is null"""
    facts: _Path = left_out("CSV or Parquet with the facts; default: ours")
    mask_token_id: _Natural = left_out(
        "id of the mask token, if the tokenizer has none (LLaDA: 126336, iLLaDA: 5)"
    )
    shifted: bool = False
    """whether a masked model's output at a token predicts the next one (Dream)"""
    gpus: _Count = 1
    """GPUs of one machine that it is spread over"""
    seeds: _Count = 5
    """runs of the fine-tuning"""
    method: Literal["full", "lora"] = "full"
    """which weights are fine-tuned"""
    lora_rank: _Count = 16
    """rank of the adapters, on every linear layer"""
    masking: Literal[tuple(MASKINGS)] = "any_order"
    """tokens masked in fine-tuning, for the masked kinds; as the setting `masking`"""
    bridge: Literal[tuple(BRIDGES)] = "none"
    """identities that fine-tuning adds to the forward statements; as the setting `bridge`"""
    reversal: Literal["none", "entity"] = "none"
    """whether it adds the forward statements in reverse; as the setting `reversal`"""
    forward_copies: Annotated[int, Field(ge=1, le=1000)] = 1
    """how often a forward statement stands among all these; as the setting `forward_copies`"""
    steps: _Natural = 1000
    """steps of fine-tuning; 0: none"""
    batch_size: _Count = 32
    """sentences per step, and per pass of the measures"""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """constant step size of AdamW"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Yield keys that do not go together, each with what is allowed."""
        if (self.path is None) == (self.hub is None):
            yield "", "needs a place to load from; allowed: either `path` or `hub`"
        if self.revision is None and (self.hub or self.trust_remote_code):
            pin = "full commit of the model on the hub" if self.hub else "digest of its files"
            yield "revision", f"is missing; allowed: the {pin}"
        if self.hub and self.billion_parameters is None:
            yield "billion_parameters", "is missing; allowed: the size of the model on the hub"
        if self.dtype == "float16" and self.trained == "full":
            yield "dtype", "AdamW divides by 0 in float16; allowed: float32, bfloat16, method: lora"
        for extra in ("mask_token_id", "masking", "shifted"):
            if self.causal and extra in self.model_fields_set:
                yield extra, "means nothing for a causal model; allowed: leaving it out"

    @property
    def trained(self) -> str | None:
        """Which weights are fine-tuned: `full`, `lora`, or None without steps."""
        return self.method if self.steps else None

    @property
    def arm(self) -> str:
        """The remedies in words; `none` without any."""
        given = {name: getattr(self, name) for name in REMEDIES}
        words = [in_words(name, value) for name, value in given.items() if value != DEFAULTS[name]]
        return ", ".join(words) or "none"

    @property
    def causal(self) -> bool:
        return self.kind == "causal"

    def error(self, text: str, cause: Exception | None = None) -> UserError:
        """Make an error about this model, followed by the first line of its `cause`."""
        return UserError(f"{self.name}: {text}" + (f": {first_line(cause)}" if cause else ""))
