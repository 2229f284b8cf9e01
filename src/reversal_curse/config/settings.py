"""The settings of one grid point: each field holds everything known about its setting.

A new setting is one field here and the code that uses it. Paths, tables, plots, errors, the
JSON schema and `config/README.md` follow. The defaults are those of Zhu et al. 2024 (section 5
and appendix); where the paper's text and the official code differ, they follow the code, which
made the paper's curves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from reversal_curse.families import FAMILIES
from reversal_curse.tasks import TASKS
from reversal_curse.tasks.inverse import IDENTITIES as BRIDGES
from reversal_curse.tasks.masking_arms import MASKINGS


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("printable", "must be text without control characters")
    return text


PRINTABLE: Any = AfterValidator(_printable)
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]

# Limits of sizes and counts: larger than anyone needs, and safe in 32 bits.
SIZE: Any = Field(ge=1, le=10**6)
MAX_COUNT = 10**9
COUNT: Any = Field(ge=1, le=MAX_COUNT)
POSITIVE: Any = Field(gt=0)
NOT_NEGATIVE: Any = Field(ge=0)
FRACTION: Any = Field(ge=0, lt=1)


@dataclass(frozen=True, eq=False)
class About:
    """What is known about a setting besides its type, limits, default and meaning."""

    of: str = ""
    """The part that a family needs to have the setting, and the task too if it is one of tasks."""
    needs: Mapping[str, tuple] = field(default_factory=dict)
    """Values of other settings, of those that the family has, without which it changes nothing."""
    remedy: str = ""
    """The kind of remedy against the curse that another value than the default is."""
    unit: str = ""
    label: str = ""
    """How plots write a value, with `{}` in its place; a plural after `{} ` loses its s at 1."""
    names: Mapping[Any, str] = field(default_factory=dict)
    """How plots write certain values."""

    @cached_property
    def data(self) -> bool:
        """Whether the sentences depend on it, in tasks that have its part."""
        return any(self.of in task.parts for task in TASKS.values())


class Strict(BaseModel):
    """A model that refuses unknown keys and converts nothing; fields are described below them."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def left_out(meaning: str) -> Any:
    """Declare an optional key: None if it is left out, while an explicit null is an error."""
    return Field(None, description=meaning)


_TRANSFORMER, _BATCHES = "transformer", "batches"  # parts of families that many settings belong to
_FAMILIES = {name: family.name for name, family in FAMILIES.items()}
_ENCODINGS = {"none": "no positions", "alibi": "ALiBi"}
_MASKINGS = {name: f"masked: {arm.label}" for name, arm in MASKINGS.items()}
_TIED = {True: "tied head", False: "untied head"}
_FROZEN = {True: "frozen embeddings", False: "learned embeddings"}
_LOSSES = {"cross_entropy": "cross-entropy", "brier": "Brier score", "hinge": "hinge loss"}
_EXPOSURE = {True: "exposed", False: "not exposed"}
_WHOLE = {1.0: "whole heads rotated"}
_BRIDGES = {
    "none": "no bridge",
    "subjects": "A is A",
    "objects": "B is B",
    "names": "names only",
    "composed": "r' of r of A is A",
    "full": "identity bridge",
}
_REVERSALS = {
    "none": "nothing reversed",
    "token": "reversed by token",
    "entity": "reversed by entity",
    "permutation": "permuted",
}
_MARKED = {True: "marked", False: "not marked"}
_COPIES = {"none": "no copy", "masked": "masked copy first", "random": "random copy first"}
_RATES = {"uniform": "any rate", "fixed": "15 % masked"}
_MASKED_WORDS = {True: "whole entities masked", False: "tokens masked"}
_MLP = {True: "with MLP", False: "attention only"}
_FACTORS = {True: "factorised", False: "merged"}
_OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD", "muon": "Muon"}
_UNEVEN = {"pos_encoding": ("absolute",), "bridge": ("composed", "full")}
_REVERSED = {"reversal": ("token", "entity", "permutation")}
_MASKED = {"copy_first": ("masked", "random"), "masking": ("any_order",)}
_MASKED_LONG = _MASKED | {"entity_length": (2, 3)}
_NO_SGD = {"optimizer": ("adamw", "muon")}
_Encoding = Literal["none", "absolute", "rotary", "alibi"]


class Settings(Strict):
    """One value for every setting; those without effect, given the others, keep their default."""

    task: Annotated[Literal[tuple(TASKS)], About(label="{}")] = "reversal"
    """what is learned and asked"""
    family: Annotated[Literal[tuple(FAMILIES)], About(names=_FAMILIES, remedy="objective")] = "gpt"
    """what is trained"""
    layers: Annotated[int, SIZE, About(_TRANSFORMER, label="{} layers")] = 24
    """transformer blocks"""
    heads: Annotated[int, SIZE, About(_TRANSFORMER, label="{} heads")] = 12
    """attention heads; they divide `embed_dim`"""
    embed_dim: Annotated[int, SIZE, About("embeddings", unit="features", label="d = {}")] = 768
    """width of embeddings and residual stream"""
    vocab_size: Annotated[int, SIZE, About(unit="tokens", label="V = {}")] = 800
    """ids that entities are drawn from; relation tokens add to it"""
    entity_length: Annotated[
        int, Field(ge=1, le=3), About("words", unit="tokens", label="{}-token entities")
    ] = 1
    """tokens per entity"""
    distance: Annotated[int, SIZE, About("distance", unit="tokens", label="{} relation tokens")] = 1
    """relation tokens between the entities of a fact"""
    exposure: Annotated[bool, About("distance", names=_EXPOSURE)] = False
    """whether A and B of a fact are also trained in each other's slots, in other sentences"""
    train_facts: Annotated[int, SIZE, About("train_facts", label="{} training facts")] = 200
    """training triples of `chain_related`"""
    two_way: Annotated[float, FRACTION, About("remedies", label="{} of facts both ways")] = 0.5
    """part of the facts of `inverse` that are trained in both orders"""
    bridge: Annotated[Literal[tuple(BRIDGES)], About("bridge", names=_BRIDGES, remedy="data")] = (
        "none"
    )
    """identities that are trained on besides the facts"""
    alignment: Annotated[
        Literal["left", "right"],
        About("bridge", _UNEVEN, label="{}-aligned", remedy="data"),
    ] = "left"
    """where positions of sentences of unlike length agree: at their start or at their end"""
    forward_copies: Annotated[
        int, SIZE, About("remedies", label="facts {}-fold", remedy="data")
    ] = 1
    """how often a fact stands in the training set"""
    reversal: Annotated[
        Literal["none", "token", "entity", "permutation"],
        About("remedies", names=_REVERSALS, remedy="data"),
    ] = "none"
    """how sentences are turned that are trained on besides the facts"""
    reversal_share: Annotated[
        float,
        Field(gt=0, le=1),
        About("remedies", _REVERSED, label="{} of the facts", remedy="data"),
    ] = 1.0
    """part of the facts whose sentences are turned"""
    reversal_marker: Annotated[bool, About("marker", _REVERSED, names=_MARKED, remedy="data")] = (
        False
    )
    """whether a token in front says that a sentence is turned"""
    pos_encoding: Annotated[
        _Encoding, About(_TRANSFORMER, label="{} positions", names=_ENCODINGS)
    ] = "absolute"
    """how positions enter the model"""
    rotary_fraction: Annotated[
        float,
        Field(gt=0, le=1),
        About(
            _TRANSFORMER, {"pos_encoding": ("rotary",)}, label="{} of a head rotated", names=_WHOLE
        ),
    ] = 1.0
    """part of each head's features that rotary positions rotate"""
    masking: Annotated[
        Literal[tuple(MASKINGS)], About("masking", names=_MASKINGS, remedy="objective")
    ] = "any_order"
    """tokens that masked diffusion ever masks"""
    copy_first: Annotated[
        Literal["none", "masked", "random"], About("next_token", names=_COPIES, remedy="objective")
    ] = "none"
    """what a causal model reads before a sentence: a copy with tokens masked or random"""
    mask_rate: Annotated[
        Literal["uniform", "fixed"], About("mask_rate", _MASKED, names=_RATES, remedy="objective")
    ] = "uniform"
    """how many tokens of a sentence are masked: 0 to 1 of them, or 15 %"""
    mask_entities: Annotated[
        bool, About("mask_rate", _MASKED_LONG, names=_MASKED_WORDS, remedy="objective")
    ] = False
    """whether entities of several tokens are masked whole"""
    seeds: Annotated[int, COUNT, About(label="{} seeds")] = 10
    """replicas, trained as one batch: 0 to `seeds` - 1"""
    epochs: Annotated[int, COUNT, About(unit="epochs")] = 3000
    """passes over the training set"""
    eval_every: Annotated[int, COUNT, About(unit="epochs")] = 10
    """epochs between two evaluations"""
    batch_size: Annotated[int, COUNT, About(_BATCHES, unit="sentences")] = 64
    """sentences per step"""
    learning_rate: Annotated[float, POSITIVE] = 0.01
    """constant step size"""
    learning_rate_z: Annotated[float, POSITIVE, About("attention_z")] = 0.01
    """step size of the attention Z; `learning_rate` is that of Y"""
    optimizer: Annotated[
        Literal["adamw", "sgd", "muon"], About(_BATCHES, names=_OPTIMIZERS, remedy="optimisation")
    ] = "adamw"
    """what takes the steps; Muon leaves embeddings, head and vectors to AdamW"""
    momentum: Annotated[float, FRACTION, About(_BATCHES, {"optimizer": ("sgd", "muon")})] = 0.95
    """SGD and Muon, decay of the sum of gradients (Nesterov's)"""
    weight_decay: Annotated[float, NOT_NEGATIVE, About(_BATCHES, remedy="optimisation")] = 0.01
    """decoupled decay (times the rate)"""
    beta1: Annotated[float, FRACTION, About(_BATCHES, _NO_SGD)] = 0.9
    """AdamW, decay of the first moment"""
    beta2: Annotated[float, FRACTION, About(_BATCHES, _NO_SGD)] = 0.999
    """AdamW, decay of the second moment"""
    dropout: Annotated[float, FRACTION, About(_TRANSFORMER)] = 0.1
    """rate on embeddings, attention and residuals"""
    mlp: Annotated[bool, About(_TRANSFORMER, names=_MLP, remedy="architecture")] = True
    """whether blocks have an MLP after attention"""
    factorised: Annotated[bool, About("attention_z", names=_FACTORS, remedy="architecture")] = False
    """whether Y is a product of two matrices, value and output, that are trained"""
    tie_head: Annotated[bool, About(_TRANSFORMER, names=_TIED, remedy="architecture")] = False
    """whether the output head is the token embedding"""
    freeze_embeddings: Annotated[bool, About(_TRANSFORMER, names=_FROZEN)] = False
    """whether token and position embeddings stay as drawn"""
    loss_on: Annotated[
        Literal["answer", "sequence"],
        About("next_token", {"copy_first": ("none",)}, remedy="objective"),
    ] = "answer"
    """tokens that are trained on: the last entity's, or all"""
    loss: Annotated[
        Literal["cross_entropy", "brier", "hinge"], About("loss", names=_LOSSES, remedy="objective")
    ] = "cross_entropy"
    """what is minimised: -ln p, squared error of the probabilities, or hinge loss with margin 1"""
    init_std: Annotated[float, NOT_NEGATIVE, About("random_start")] = 0.01
    """standard deviation of Theta(0)"""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], About(_TRANSFORMER)] = "auto"
    """of matrix products; `auto`: bfloat16 for wide models on hardware that has it"""
    compile: Annotated[Literal["auto", "never", "always"], About(_TRANSFORMER)] = "auto"
    """whether training is compiled; `auto` goes by estimated time and depth"""

    def described(self) -> dict[str, Any]:
        """Return the value of every setting, None if it has no effect given the others."""
        used = meaningful(vars(self))
        return {name: value if name in used else None for name, value in vars(self).items()}


NAMES = tuple(Settings.model_fields)
DEFAULTS: dict[str, Any] = {name: f.default for name, f in Settings.model_fields.items()}
ABOUT: dict[str, About] = {
    name: next((item for item in f.metadata if isinstance(item, About)), About())
    for name, f in Settings.model_fields.items()
}
_DECIDING = tuple(
    dict.fromkeys(["family", "task", *(other for a in ABOUT.values() for other in a.needs)])
)
# Shared by all `Settings`: a set for each would take two thirds of their memory.
_GIVEN = set(NAMES)


def meaningful(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the settings that change something, given a value for each."""
    return _meaningful(*(values[name] for name in _DECIDING))


@cache
def _meaningful(*deciding: Any) -> frozenset[str]:
    values = dict(zip(_DECIDING, deciding, strict=True))
    family, task = FAMILIES[values["family"]], TASKS[values["task"]]
    held = {name for name, about in ABOUT.items() if not about.of or about.of in family.parts}
    return frozenset(
        name
        for name in held
        if not ABOUT[name].data or ABOUT[name].of in task.parts
        if all(values[o] in allowed for o, allowed in ABOUT[name].needs.items() if o in held)
    )


def settle(values: Mapping[str, Any]) -> Settings:
    """Build `Settings` of checked values; those that change nothing get their default."""
    used = meaningful(values)
    return Settings.model_construct(
        _GIVEN, **{name: values[name] if name in used else DEFAULTS[name] for name in NAMES}
    )


def settings_of(row: Mapping[str, Any]) -> Settings:
    """Return the settings that a row describes; None stands for what means nothing there."""
    return settle({n: DEFAULTS[n] if row[n] is None else row[n] for n in NAMES})


def choices(name: str) -> tuple:
    """List the values of a setting with a fixed choice, in the order that plots use."""
    annotation = Settings.model_fields[name].annotation
    if annotation is bool:
        return (False, True)
    return getattr(annotation, "__args__", ())


def in_words(name: str, value: Any) -> str:
    """Write a value of a setting as plots do: `V = 80`, `2 layers`; empty for None."""
    if value is None:
        return ""
    about = ABOUT[name]
    if value in about.names:
        return about.names[value]
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    text = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    written = (about.label or f"{words} {{}}").format(text)
    return written.removesuffix("s") if written.startswith("1 ") else written
