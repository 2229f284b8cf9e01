"""The settings of one grid point: everything that is known of each stands at its field.

A new setting is one field here and the code that uses it. Paths, tables, plots, errors, the
JSON schema and `config/README.md` follow. The defaults are those of Zhu et al. 2024 (section 5
and appendix); where the paper's text and the official code differ, they follow the code, which
made the paper's curves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reversal_curse.families import FAMILIES
from reversal_curse.tasks import TASKS
from reversal_curse.tasks.masking_arms import MASKINGS

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]

# Limits of sizes and counts: beyond any use, and safe in 32 bits.
SIZE: dict[str, Any] = {"ge": 1, "le": 10**6}
MAX_COUNT = 10**9
COUNT: dict[str, Any] = {"ge": 1, "le": MAX_COUNT}
FRACTION: dict[str, Any] = {"ge": 0, "lt": 1}


@dataclass(frozen=True)
class About:
    """What is known of a setting beside its type, limits, default and meaning."""

    of: str = ""
    """The part of a family (with `data`, of a task too) that it belongs to; empty: all have it."""
    needs: Mapping[str, tuple] = field(default_factory=dict)
    """Values of other settings without which it changes nothing."""
    data: bool = False
    """Whether the sentences depend on it."""
    unit: str = ""
    label: str = ""
    """How plots write a value, with `{}` in its place."""
    names: Mapping[Any, str] = field(default_factory=dict)
    """How plots write certain values."""


def left_out(meaning: str, **limits: Any) -> Any:
    """Declare an optional key: None if it is left out, while an explicit null is an error."""
    return Field(None, description=meaning, **limits)


def setting(default: Any, meaning: str, limits: Mapping[str, Any] | None = None, **about: Any):
    """Declare one field of `Settings`, with pydantic's limits and the fields of `About`."""
    declared: Any = Field(default, description=meaning, **(limits or {}))
    declared.metadata.append(About(**about))
    return declared


_FAMILIES = {name: family.name for name, family in FAMILIES.items()}
_ENCODINGS = {"none": "no positions", "alibi": "ALiBi"}
_MASKINGS = {name: f"masked: {arm.label}" for name, arm in MASKINGS.items()}


class Settings(BaseModel):
    """One value for every setting; one without effect, given the others, keeps its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    task: Literal[tuple(TASKS)] = setting(
        "reversal", "what is learned and asked", data=True, label="{}"
    )
    family: Literal[tuple(FAMILIES)] = setting("gpt", "what is trained", names=_FAMILIES)
    layers: int = setting(
        24, "transformer blocks", SIZE, of="transformer", label="{} layers", names={1: "1 layer"}
    )
    heads: int = setting(
        12,
        "attention heads; they divide `embed_dim`",
        SIZE,
        of="transformer",
        label="{} heads",
        names={1: "1 head"},
    )
    embed_dim: int = setting(
        768,
        "width of embeddings and residual stream",
        SIZE,
        of="embeddings",
        unit="features",
        label="d = {}",
    )
    vocab_size: int = setting(
        800,
        "ids that entities are drawn from; relation tokens add to it",
        SIZE,
        data=True,
        unit="tokens",
        label="V = {}",
    )
    entity_length: int = setting(
        1,
        "tokens per entity",
        {"ge": 1, "le": 3},
        of="words",
        data=True,
        unit="tokens",
        label="{}-token entities",
    )
    distance: int = setting(
        1,
        "relation tokens between the entities of a fact",
        SIZE,
        of="distance",
        data=True,
        unit="tokens",
        label="{} relation tokens",
        names={1: "1 relation token"},
    )
    train_facts: int = setting(
        200,
        "training triples of `chain_related`",
        SIZE,
        of="train_facts",
        data=True,
        label="{} training facts",
    )
    pos_encoding: Literal["none", "absolute", "rotary", "alibi"] = setting(
        "absolute", "how positions enter", of="transformer", label="{} positions", names=_ENCODINGS
    )
    rotary_fraction: float = setting(
        1.0,
        "part of each head's features that rotary positions rotate",
        {"gt": 0, "le": 1},
        of="transformer",
        needs={"pos_encoding": ("rotary",)},
        label="{} of a head rotated",
        names={1.0: "whole heads rotated"},
    )
    masking: Literal[tuple(MASKINGS)] = setting(
        "any_order", "tokens that masked diffusion ever masks", of="masking", names=_MASKINGS
    )
    seeds: int = setting(
        10,
        "replicas, trained as one batch: 0 to `seeds` - 1",
        COUNT,
        data=True,
        label="{} seeds",
        names={1: "1 seed"},
    )
    epochs: int = setting(3000, "passes over the training set", COUNT, unit="epochs")
    eval_every: int = setting(10, "epochs between two evaluations", COUNT, unit="epochs")
    batch_size: int = setting(64, "sentences per step", COUNT, of="adamw", unit="sentences")
    learning_rate: float = setting(0.01, "constant step size", {"gt": 0})
    learning_rate_z: float = setting(
        0.01,
        "step size of the attention Z; `learning_rate` is that of Y",
        {"gt": 0},
        of="attention_z",
    )
    weight_decay: float = setting(
        0.01, "decoupled decay of AdamW (times the rate)", {"ge": 0}, of="adamw"
    )
    beta1: float = setting(0.9, "AdamW, decay of the first moment", FRACTION, of="adamw")
    beta2: float = setting(0.999, "AdamW, decay of the second moment", FRACTION, of="adamw")
    dropout: float = setting(
        0.1, "rate on embeddings, attention and residuals", FRACTION, of="transformer"
    )
    tie_head: bool = setting(
        False,
        "whether the output head is the token embedding",
        of="transformer",
        names={True: "tied head", False: "untied head"},
    )
    freeze_embeddings: bool = setting(
        False,
        "whether token and position embeddings stay as drawn",
        of="transformer",
        names={True: "frozen embeddings", False: "learned embeddings"},
    )
    loss_on: Literal["answer", "sequence"] = setting(
        "answer", "tokens that are trained on: the last entity's, or all", of="next_token"
    )
    init_std: float = setting(0.01, "standard deviation of Theta(0)", {"ge": 0}, of="random_start")
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "of matrix products; `auto`: bfloat16 for wide models on hardware that has it",
        of="transformer",
    )
    compile: Literal["auto", "never", "always"] = setting(
        "auto",
        "whether training is compiled; `auto` goes by estimated time and depth",
        of="transformer",
    )

    def described(self) -> dict[str, Any]:
        """Every setting with its value, None where it means nothing to the others."""
        used = meaningful(vars(self))
        return {name: value if name in used else None for name, value in vars(self).items()}


NAMES = tuple(Settings.model_fields)
DEFAULTS: dict[str, Any] = {name: f.default for name, f in Settings.model_fields.items()}
ABOUT: dict[str, About] = {
    name: next(item for item in f.metadata if isinstance(item, About))
    for name, f in Settings.model_fields.items()
}
_DECIDING = tuple(
    dict.fromkeys(["family", "task", *(other for a in ABOUT.values() for other in a.needs)])
)
# Shared by all `Settings`: a set for each would take two thirds of their memory.
_GIVEN = set(NAMES)


def meaningful(values: Mapping[str, Any]) -> frozenset[str]:
    """The settings that change something, given a value for each."""
    return _meaningful(*(values[name] for name in _DECIDING))


@cache
def _meaningful(*deciding: Any) -> frozenset[str]:
    values = dict(zip(_DECIDING, deciding, strict=True))
    family, task = FAMILIES[values["family"]], TASKS[values["task"]]
    found: set[str] = set()
    for name, about in ABOUT.items():
        has = not about.of or (
            about.of in family.parts and (not about.data or about.of in task.parts)
        )
        if has and all(o in found and values[o] in allowed for o, allowed in about.needs.items()):
            found.add(name)
    return frozenset(found)


def settle(values: Mapping[str, Any]) -> Settings:
    """`Settings` of checked values, with its default for each that changes nothing."""
    used = meaningful(values)
    return Settings.model_construct(
        _GIVEN, **{name: values[name] if name in used else DEFAULTS[name] for name in NAMES}
    )


def choices(name: str) -> tuple:
    """The values of a setting that has a list of them, in the order of plots."""
    annotation = Settings.model_fields[name].annotation
    if annotation is bool:
        return (False, True)
    return getattr(annotation, "__args__", ())


def in_words(name: str, value: Any) -> str:
    """How plots write a value of a setting: `V = 80`, `2 layers`; empty for None."""
    if value is None:
        return ""
    about = ABOUT[name]
    if value in about.names:
        return about.names[value]
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    text = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    return (about.label or f"{words} {{}}").format(text)
