"""Read, merge and check config files; an error has one line for every mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticCustomError

from reversal_curse.config.cost import HARDWARE
from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import ConfigError, UserError, suggestion
from reversal_curse.config.figures import OWN_GROUP, PAPER_FIGURES, PRETRAINED_FIGURES, Figure
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.pretrained import PretrainedModel, check_entries
from reversal_curse.config.settings import NAMES, Name, Settings, Strict, left_out
from reversal_curse.families import FAMILIES

_FOLDERS = (
    "checkpoints",
    "configs",
    "data",
    "figures",
    "jobs",
    "logs",
    "made",
    "pretrained",
    "runs",
)
_OF_SWEEPS = [name for name, plot in PLOTS.items() if not plot.pretrained]
MOST_VALUES = 10_000  # in a range
_Words = Annotated[str, Field(pattern=r"^[^{}\n]{1,80}$")]  # Snakemake would fill in braces

Key = tuple[str | int, ...]
Mistake = tuple[Key, str]
"""Where in a config something is wrong, and what would be right."""
_TWICE = "is set in the sweep too; allowed: in the sweep or in its points, not in both"


_RANGES: dict[Any, Any] = {
    int: "must be a value, a list, or {range: [first, last]}",
    float: "must be a value, a list, {log: [from, to, n]} or {linear: [from, to, n]}",
}


def _several(name: str, kind: Any) -> Any:
    """Annotate one value of a setting, a list of them, or a range."""
    annotation = Settings.model_fields[name].annotation
    values = Annotated[list[kind], Field(min_length=1)]
    range_of = {int: dict[Literal["range"], list[int]]}
    range_of[float] = dict[Literal["log", "linear"], list[float]]
    written = kind | values | range_of.get(annotation, values)

    def spread(value: Any) -> Any:
        if isinstance(value, dict):
            return _in_range(value, annotation)
        return value if isinstance(value, list) else [value]

    return Annotated[values, BeforeValidator(spread, json_schema_input_type=written)]


def _in_range(given: dict, annotation: Any) -> list:
    """List the values of `{range: [first, last]}`, `{linear: [from, to, count]}` or `{log: ...}`.

    Values of a logarithmic range are rounded to four digits, to keep paths readable.
    """
    ends = next(iter(given.values()), None) if annotation in _RANGES and len(given) == 1 else None
    numbers = isinstance(ends, list) and all(type(end) in (int, float) for end in ends)
    match annotation is int, given if numbers else {}:
        case True, {"range": [int(first), int(last)]} if 0 < last - first < MOST_VALUES:
            return list(range(first, last + 1))
        case False, {"linear": [low, high, int(n)]} if low != high and 2 <= n <= MOST_VALUES:
            return [float(f"{low + (high - low) * (i / (n - 1)):.10g}") for i in range(n)]
        case False, {"log": [low, high, int(n)]} if min(low, high) > 0 and 2 <= n <= MOST_VALUES:
            values = [float(f"{low * (high / low) ** (i / (n - 1)):.4g}") for i in range(n)]
            if len(set(values)) == n:
                return values
    raise PydanticCustomError("range", _RANGES.get(annotation, "must be a value or a list"))


_KINDS = get_type_hints(Settings, include_extras=True)
_MEANINGS = {name: Settings.model_fields[name].description or "" for name in NAMES}
_ONE: Any = {name: (_KINDS[name], left_out(_MEANINGS[name])) for name in NAMES}
_MANY: Any = {name: (_several(name, _KINDS[name]), left_out(_MEANINGS[name])) for name in NAMES}

Block: Any = create_model("Block", __base__=Strict, __doc__="Settings, one value each.", **_ONE)
_WITHOUT_FAMILY: Any = {name: one for name, one in _ONE.items() if name != "family"}
FamilyBlock = create_model(
    "FamilyBlock", __base__=Strict, __doc__="Settings of one family.", **_WITHOUT_FAMILY
)


class Point(Block):
    """Values that go together."""

    preset: Name = left_out("name of a block of `presets` that it starts from")
    label: _Words = left_out("what plots call it, in place of its settings")


class _SweepBase(Strict):
    preset: Name = left_out("name of a block of `presets` that it starts from")
    points: Annotated[list[Point], Field(min_length=1)] = left_out(
        "values that go together, in place of a product of lists"
    )


SweepBlock = create_model(
    "SweepBlock",
    __base__=_SweepBase,
    __doc__="A block of grid points: the product of its lists, times its `points`.",
    **_MANY,
)


class FigureBlock(Strict):
    """A plot applied to a sweep."""

    sweep: Name
    """the sweep that it draws"""
    plot: Literal[tuple(_OF_SWEEPS)] = left_out("which plot; the papers' figures have their own")
    title: _Words = left_out("its title in the report")


_FigureBlock = Annotated[
    FigureBlock,
    BeforeValidator(
        lambda value: {"sweep": value} if isinstance(value, str) else value,
        json_schema_input_type=Name | FigureBlock,
    ),
]
_SweepBlock = Annotated[
    SweepBlock,
    BeforeValidator(
        lambda value: {} if value is None else value, json_schema_input_type=SweepBlock | None
    ),
]


class Config(Strict):
    """A whole config: one file, or several merged."""

    _places: dict[Key, str] = PrivateAttr(default_factory=dict)

    name: Name = left_out("its figures, tables and ledger lie in `results/NAME`; runs are shared")
    defaults: Block = Block()
    """settings of every grid point"""
    families: dict[Literal[tuple(FAMILIES)], FamilyBlock] = Field({})
    """per family, settings that differ from `defaults`"""
    presets: dict[Name, Block] = Field({})
    """named blocks of settings that sweeps and points share"""
    sweeps: Annotated[dict[Name, _SweepBlock], Field(min_length=1)]
    """blocks of grid points; a point in several of them is trained once"""
    figures: dict[Name, _FigureBlock] = Field({})
    """for each figure a sweep, or its plot, sweep and title"""
    pretrained: list[PretrainedModel] = Field([])
    """pretrained models to probe (see below); none are downloaded by default"""
    job_minutes: Annotated[float, Field(ge=0)] = left_out(
        "estimated length of a training job, which small grid points share; 0: a job for each; by "
        "default 1, and 30 if jobs are submitted to a cluster"
    )
    stale: Literal["keep", "retrain", "refuse"] = "keep"
    """what to do with runs made by other code than today's: `keep` and say so, `retrain`, or
    `refuse` to go on"""
    hardware: Literal[tuple(HARDWARE)] = left_out(
        "what to estimate for: `cpu` (one core) or `gpu`; by default `cpu`, and `gpu` if jobs "
        "are submitted to a cluster"
    )

    @classmethod
    def load(cls, *paths: Path | str, overrides: Mapping[str, Any] | None = None) -> Config:
        """Read, merge and check YAML files; later ones replace values of earlier ones.

        Mappings are merged, lists replaced. `overrides` come last, as on Snakemake's command line:
        strings in them are read as YAML. Raises ConfigError, which names every mistake.
        """
        raw: dict = {}
        places: dict[Key, str] = {}
        for path in paths:
            content, lines = read_yaml(path)
            if not isinstance(content, dict):
                raise ConfigError(f"{path}: must be a mapping of keys to values")
            _merge(raw, content)
            places |= lines
        given = _as_yaml(dict(overrides or {}))
        _merge(raw, given)
        return cls.parse(raw, places | dict.fromkeys(_keys(given), "--config"))

    @classmethod
    def parse(cls, raw: Any, places: dict[Key, str] | None = None) -> Config:
        """Check the content of YAML files; raises ConfigError, which names every mistake."""
        try:
            config = cls.model_validate(raw)
        except ValidationError as error:
            mistakes = [_mistake(detail, raw) for detail in error.errors(include_url=False)]
            raise _config_error(mistakes, places or {}) from None
        config._places = places or {}
        config.refuse(config._wrong_names())
        return config

    def refuse(self, mistakes: Iterable[Mistake]) -> None:
        """Raise ConfigError if there are mistakes; it names the line of each."""
        mistakes = list(mistakes)
        if mistakes:
            raise _config_error(mistakes, self._places)

    def _wrong_names(self) -> Iterable[Mistake]:
        if self.name in _FOLDERS:
            yield ("name",), f"{_shown(self.name)} is a folder in results; allowed: another name"
        yield from check_entries(self.pretrained)
        for name, block in self.sweeps.items():
            points = [(("sweeps", name, "points", i), p) for i, p in enumerate(block.points or [])]
            for where, entry in [(("sweeps", name), block), *points]:
                if entry.preset is not None and entry.preset not in self.presets:
                    yield (*where, "preset"), _unknown(entry.preset, self.presets, "preset")
            for where, point in points:
                for key in sorted((point.model_fields_set & block.model_fields_set) - {"preset"}):
                    yield (*where, key), _TWICE
        for name, figure in self.figures.items():
            where = ("figures", name)
            if figure.sweep not in self.sweeps:
                yield where, _unknown(figure.sweep, self.sweeps, "sweep")
            if name in PRETRAINED_FIGURES:
                yield where, "is drawn from `pretrained` models; allowed: another name"
            elif figure.plot is None and name not in PAPER_FIGURES:
                allowed = f"{{plot: one of {', '.join(_OF_SWEEPS)}, sweep: {figure.sweep}}}"
                close = suggestion(name, PAPER_FIGURES)
                yield where, f"needs a plot{close}; allowed: {allowed}, or a figure of the papers"

    def drawings(self) -> dict[str, Figure]:
        """Return the figures of the config, with their plots and titles."""
        found = {}
        for name, block in self.figures.items():
            own = Figure("", name.replace("_", " "), OWN_GROUP)
            known = PAPER_FIGURES.get(name, own)
            plot, title = block.plot or known.plot, block.title or known.title
            found[name] = Figure(plot, title, known.group, block.sweep)
        return found | (PRETRAINED_FIGURES if self.pretrained else {})

    def executed(self, submitted: bool) -> Config:
        """Fill in `job_minutes` and `hardware`, which depend on whether jobs are submitted."""
        minutes, hardware = (30.0, "gpu") if submitted else (1.0, "cpu")
        minutes = minutes if self.job_minutes is None else self.job_minutes
        hardware = self.hardware or hardware
        return self.model_copy(update={"job_minutes": minutes, "hardware": hardware})

    def settings_given(self) -> list[str]:
        """List the settings that have a value anywhere in the config, in the order of NAMES."""
        blocks = [self.defaults, *self.families.values(), *self.presets.values()]
        for sweep in self.sweeps.values():
            blocks += [sweep, *(sweep.points or [])]
        given = set().union(*(block.model_fields_set for block in blocks))
        return [name for name in NAMES if name in given]

    def to_json(self) -> str:
        """Write the whole config as text that `Config.load` reads back."""
        return json.dumps(self.model_dump(exclude_unset=True), indent=1) + "\n"

    @property
    def digest(self) -> str:
        """Identify everything that results depend on (not how jobs run): 32 hex digits."""
        return digest_of(
            self.model_dump(exclude_unset=True, exclude={"job_minutes", "hardware", "stale"})
        )


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check and return the values of some settings; raises UserError naming every mistake."""
    try:
        return Block.model_validate(dict(given)).model_dump(exclude_unset=True)
    except ValidationError as error:
        found = [_mistake(detail, given, Block) for detail in error.errors(include_url=False)]
        lines = (": ".join(filter(None, [_spelt(key), text])) for key, text in found)
        raise UserError("; ".join(lines)) from None


def read_value(text: str) -> Any:
    """Read a string as YAML: a number, true or false, or the string itself."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _merge(into: dict, other: Mapping) -> None:
    """Put `other` over `into`, as Snakemake merges config files."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _as_yaml(value: Any) -> Any:
    """Read strings as YAML: Snakemake leaves the numbers inside `{...}` as strings."""
    if isinstance(value, Mapping):
        return {key: _as_yaml(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_yaml(one) for one in value]
    return read_value(value) if isinstance(value, str) else value


def _keys(value: Any, key: Key = ()) -> Iterator[Key]:
    """Yield every key of nested mappings."""
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        yield (*key, name)
        yield from _keys(inner, (*key, name))


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that reads 1e-3 as a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path | str) -> tuple[Any, dict[Key, str]]:
    """Read YAML and the place of each key (`FILE, line N`); raises ConfigError if it is broken."""
    try:
        loader = _Loader(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        places: dict[Key, str] = {}
        _find_places(node, (), str(path), places, set())
        return (loader.construct_document(node) if node else None), places
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", error)
        raise ConfigError(f"{path}{line}: not valid YAML: {_flat(problem)}") from None


def _find_places(
    node: yaml.Node | None, key: Key, path: str, places: dict[Key, str], seen: set[int]
) -> None:
    if node is None or id(node) in seen:  # an alias of a node seen before
        return
    seen.add(id(node))
    inner: list[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        inner = [(k.value, k, v) for k, v in node.value if isinstance(k, yaml.ScalarNode)]
    elif isinstance(node, yaml.SequenceNode):
        inner = [(index, value, value) for index, value in enumerate(node.value)]
    for name, at, value in inner:
        if (*key, name) in places:
            problem = f"the key {_shown(name)} is given twice"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
        places[(*key, name)] = f"{path}, line {at.start_mark.line + 1}"
        _find_places(value, (*key, name), path, places, seen)


def _config_error(mistakes: list[Mistake], places: dict[Key, str]) -> ConfigError:
    lines = []
    for key, text in mistakes:
        found = next((places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in places), None)
        lines.append(": ".join(filter(None, [found, _spelt(key) or "(top level)", text])))
    return ConfigError(*dict.fromkeys(lines))


def _spelt(key: Key) -> str:
    """Write a key as a person would: `sweeps.rates.points[0].layers`."""
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in key).removeprefix(".")


def _flat(problem: object) -> str:
    return " ".join(str(problem).split())


def _shown(value: Any) -> str:
    """Write a value for an error message: on one line and not too long."""
    text = _flat(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown(word: Any, known: Iterable[str], kind: str) -> str:
    return f"unknown {kind} {_shown(word)}{_instead(word, known)}"


def _instead(word: Any, known: Iterable[str]) -> str:
    names = list(known)
    return f"{suggestion(word, names)}; allowed: {', '.join(names) or 'none is defined'}"


_MODELS = {
    "families": FamilyBlock,
    "defaults": Block,
    "presets": Block,
    "sweeps": SweepBlock,
    "points": Point,
    "figures": FigureBlock,
    "pretrained": PretrainedModel,
}


def _mistake(detail: Any, raw: Any, model: type[BaseModel] = Config) -> Mistake:
    """Translate an error of pydantic into the key and what is allowed there."""
    parts = [part for part in detail["loc"] if part != "[key]"]
    key, value = _locate(parts, raw)
    kind, context = detail["type"], detail.get("ctx", {})
    known = re.findall(r"'([^']*)'", context.get("expected", ""))
    if kind == "extra_forbidden":
        sections = [part for part in parts[:-1] if part in _MODELS]
        known = (_MODELS[sections[-1]] if sections else model).model_fields
    if kind == "missing":
        return key, "is missing"
    of_key = "[key]" in detail["loc"]
    if kind == "extra_forbidden" or (of_key and known):
        return key, f"unknown key{_instead(parts[-1], known)}"
    needed = _needed(kind, detail["msg"], context)
    if of_key:
        return key[:-1], f"a key {needed}, got {_shown(parts[-1])}"
    close = suggestion(value, known) if kind == "literal_error" else ""
    return key, f"{needed}, got {_shown(value)}{close}"


def _locate(parts: list, raw: Any) -> tuple[Key, Any]:
    """Find the key of a place and the value at it."""
    key: Key = ()
    value = raw
    for part in parts:
        if isinstance(part, int):
            if not isinstance(value, list):  # a single value, or a range, that became a list
                continue
            value = value[part]
        else:
            value = value.get(part) if isinstance(value, dict) else None
        key = (*key, part)
    return key, value


_WORDS = {
    " after validation.*| or instance of \\w+|, got a number.*|'": "",
    "^(Input|List|String|Keys?|Dictionary) should ": "must ",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "text",
    "a valid list": "a list",
    "a valid dictionary": "a mapping of keys to values",
    "must be strings": "must have keys that are text",
}
_PATTERNS = {
    "[0-9a-f]{40}": "must be a full commit or SHA-1: 40 hexadecimal digits",
    "/": "must be an id on the hub, OWNER/NAME",
    "{}": "must be one line of at most 80 characters, without braces",
    "": "must be a name: at most 32 lower-case letters, digits and _, starting with a letter",
}


def _needed(kind: str, message: str, context: dict) -> str:
    """Say what a value must be: in pydantic's words, except for patterns."""
    if kind == "string_pattern_mismatch":
        return next(text for part, text in _PATTERNS.items() if part in context["pattern"])
    for theirs, ours in _WORDS.items():
        message = re.sub(theirs, ours, message)
    return message
