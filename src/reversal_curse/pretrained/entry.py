"""One entry of the config key `pretrained`: a model, how it is loaded and how it is fine-tuned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from reversal_curse.errors import ConfigError
from reversal_curse.registry import MASKINGS
from reversal_curse.settings import MAX_COUNT, Name

KINDS = ("masked_diffusion", "masked_lm", "causal")
MEASURED = ("answers", "scores", "gradients")
"""Tables that a probed model writes."""

_Text = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class PretrainedModel(BaseModel):
    """A pretrained model to probe, before and after fine-tuning on the forward statements."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: Name = Field(description="what paths, tables and figures call it")
    kind: Literal[KINDS] = Field(
        description="`masked_diffusion` (tokens filled in in any order, as LLaDA and Dream), "
        "`masked_lm` (as BERT), or `causal` (left to right)"
    )
    path: _Text = Field(None, description="folder of the checkpoint in Hugging Face's format")
    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] = Field(
        None, description="in place of `path`: its id on Hugging Face's hub; nothing else downloads"
    )
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] = Field(
        None,
        description="`hub`: the commit, in full. `path` with code of its own: the SHA-1 of that "
        "code, which the error says",
    )
    billion_parameters: Annotated[float, Field(gt=0, lt=1e6)] = Field(
        None,
        description="its size, by which memory is asked for; needed with `hub`, whose files are "
        "not there yet; `path`: read from the files",
    )
    trust_remote_code: bool = Field(
        False, description="run the code that comes with the checkpoint (LLaDA, Dream); pin it"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="of the weights; in sixteen bits they cannot hold the small step of the "
        "gradient probe, and `actual_change` is null",
    )
    facts: _Text = Field(None, description="CSV or Parquet with the facts; default: ours")
    mask_token_id: Annotated[int, Field(ge=0, le=MAX_COUNT)] = Field(
        None, description="id of the mask token, where the tokenizer does not say (LLaDA: 126336)"
    )
    shifted: bool = Field(
        False,
        description="masked models whose output at a token is about the next one (Dream); causal "
        "ones always do",
    )
    gpus: _Count = Field(1, description="GPUs of one machine that it is spread over")
    seeds: _Count = Field(3, description="runs of the fine-tuning")
    method: Literal["full", "lora"] = Field("full", description="which weights are fine-tuned")
    lora_rank: _Count = Field(16, description="rank of the adapters, on every linear layer")
    masking: Literal[tuple(MASKINGS)] = Field(
        "any_order",
        description="tokens masked in fine-tuning, for the masked kinds; as the axis `masking`",
    )
    steps: Annotated[int, Field(ge=0, le=MAX_COUNT)] = Field(
        1000, description="of fine-tuning on the forward statements; 0: none"
    )
    batch_size: _Count = Field(32, description="facts per step, and per pass of the measures")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="of AdamW, constant")

    def check(self, key: str) -> None:
        """Refuse keys that do not go together; raises ConfigError, which names `key`."""
        if (self.path is None) == (self.hub is None):
            raise ConfigError(key, "needs a place to load from", "either `path` or `hub`")
        if self.hub and self.revision is None:
            raise ConfigError(
                f"{key}.revision", "is missing", "the full commit of the model on the hub"
            )
        if self.hub and self.billion_parameters is None:
            raise ConfigError(
                f"{key}.billion_parameters", "is missing", "the size of the model on the hub"
            )
        if self.trust_remote_code and self.revision is None:
            raise ConfigError(
                f"{key}.revision",
                "code that comes with a checkpoint is run only where it is pinned",
                "the full commit on the hub; for `path` the SHA-1 of its .py files",
            )
        if self.dtype == "float16" and self.trained == "full":
            raise ConfigError(
                f"{key}.dtype",
                "AdamW's smallest number is 0 in float16: weights without a gradient become NaN",
                "float32, bfloat16, or method: lora",
            )
        given = self.model_fields_set
        if self.kind == "causal" and given & {"masking", "mask_token_id", "shifted"}:
            extra = sorted(given & {"masking", "mask_token_id", "shifted"})[0]
            raise ConfigError(f"{key}.{extra}", "is nothing that a causal model has", "without it")

    def to_json(self) -> str:
        """One line that gives the same entry again: what its tables depend on."""
        return self.model_dump_json(exclude_unset=True)

    @property
    def trained(self) -> str | None:
        """Which weights are fine-tuned: `full`, `lora`, or None where there are no steps."""
        return self.method if self.steps else None

    @property
    def causal(self) -> bool:
        return self.kind == "causal"


def check_entries(entries: list[PretrainedModel]) -> None:
    """Check all entries of a config; raises ConfigError at the first mistake."""
    names = [entry.name for entry in entries]
    for index, entry in enumerate(entries):
        key = f"pretrained[{index}]"
        if entry.name in names[:index]:
            raise ConfigError(f"{key}.name", f'"{entry.name}" is used twice', "a name of its own")
        entry.check(f"{key} ({entry.name})")
