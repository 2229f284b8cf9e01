"""Read, merge and check config files; an error has one line for each of the first mistakes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    create_model,
)
from pydantic_core import PydanticCustomError
from yaml.composer import Composer

from reversal_curse.config.cost import HARDWARE
from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import ConfigError, UserError, one_line, suggestion
from reversal_curse.config.figures import (
    OWN_GROUP,
    PALETTES,
    PAPER_FIGURES,
    PRETRAINED_FIGURES,
    Figure,
)
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.config.settings import NAMES, PRINTABLE, Name, Settings, Strict, left_out
from reversal_curse.families import FAMILIES

_FOLDERS = ["checkpoints", "configs", "data", "figures", "jobs", "logs", "made", "pretrained"]
_FOLDERS += ["runs"]
_HOW = ("job_minutes", "hardware")
"""Keys that say how jobs run, not what they make."""
MOST_BYTES = 250_000  # of a file, and of a config with aliases and ranges written out
MOST_POINTS = 25_000  # of a config; as many values in all its ranges
MOST_MISTAKES = 10  # shown
_Words = Annotated[str, Field(pattern=r"^[^{}\n]{1,80}$"), PRINTABLE]  # Snakemake fills in braces

Key = tuple[str | int, ...]
Mistake = tuple[Key, str]
"""Where in a config something is wrong, and what would be right."""
_RANGES: dict[Any, Any] = {  # how they are written
    int: (dict[Literal["range"], list[int]], ", a list, or {range: [first, last]}"),
    float: (
        dict[Literal["log", "linear"], list[float]],
        ", a list, {log: [from, to, n]} or {linear: [from, to, n]}",
    ),
}


def _in_short(kind: Any, written: Any, spell_out: Callable) -> Any:
    """Annotate a kind of value that may be written in other ways."""
    return Annotated[kind, BeforeValidator(spell_out, json_schema_input_type=written)]


def _several(name: str, kind: Any) -> Any:
    """Annotate one value of a setting, a list of them, or a range."""
    annotation = Settings.model_fields[name].annotation
    values = Annotated[list[kind], Field(min_length=1)]
    ranges, allowed = _RANGES.get(annotation, (values, ""))
    limit = f"ranges give different finite values, at most {MOST_POINTS:,} in all"
    needed: Any = f"must be a value{allowed}; {limit}"

    def spread(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or not allowed:
            return value if isinstance(value, list) else [value]
        budget: Any = info.context
        found = _in_range(value, annotation is int, budget["left"])
        budget["left"] -= len(found)
        if not 0 < len(found) == len(set(filter(math.isfinite, found))):
            raise PydanticCustomError("range", needed)
        return found

    return _in_short(values, kind | values | ranges, spread)


def _in_range(given: dict, whole: bool, most: int) -> list:
    """List at most so many values of `{range: [first, last]}`, `{linear: [from, to, n]}` or `log`.

    Values of a logarithmic range are rounded to four digits, to keep paths readable.
    """
    ends = next(iter(given.values()), None)
    numbers = isinstance(ends, list) and all(type(end) in (int, float) for end in ends)
    match whole, list(given.items()) if numbers else []:
        case True, [("range", [int(first), int(last)])] if 0 < last - first < most:
            return list(range(first, last + 1))
        case False, [(scale, [low, high, int(n)])] if 2 <= n <= most:
            steps = [i / (n - 1) for i in range(n)]
            if scale == "linear":
                return [float(f"{low + (high - low) * step:.10g}") for step in steps]
            if scale == "log" and min(low, high) > 0:
                return [float(f"{low * (high / low) ** step:.4g}") for step in steps]
    return []


_KINDS = get_type_hints(Settings, include_extras=True)
_ONE: Any = {n: (_KINDS[n], left_out(str(f.description))) for n, f in Settings.model_fields.items()}
_MANY: Any = {name: (_several(name, kind), meaning) for name, (kind, meaning) in _ONE.items()}

Block: Any = create_model("Block", __base__=Strict, __doc__="Settings, one value each.", **_ONE)
del _ONE["family"]
FamilyBlock = create_model(
    "FamilyBlock", __base__=Strict, __doc__="Settings of one family.", **_ONE
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
    plot: Literal[tuple(name for name, plot in PLOTS.items() if not plot.pretrained)] = left_out(
        "which plot; the papers' figures have their own"
    )
    title: _Words = left_out("its title in the report")
    width: _Width = left_out("its own, in place of that in `style`")


def _inches(value: Any) -> float:
    """Return a width in inches; it may be given as that of columns."""
    inches: Any = COLUMNS.get(value) if isinstance(value, str) else value
    if type(inches) in (int, float) and 2 <= inches <= 40:
        return inches
    raise PydanticCustomError(
        "width", "must be one_column, two_columns, or a number of inches from 2 to 40"
    )


COLUMNS = {"one_column": 3.25, "two_columns": 6.75}  # of most journals, at least
_Width = _in_short(float, Literal[tuple(COLUMNS)] | float, _inches)


class Style(Strict):
    """How figures look: for a screen, or for a page."""

    width: _Width = left_out(
        "widest that a figure may be when printed: `one_column` (3.25 inches), `two_columns` "
        "(6.75) or inches; by default as wide as its panels like to be"
    )
    font_size: Annotated[float, Field(ge=6, le=20)] = 8
    """of the labels of axes, in points; other text follows, and none has under 6"""
    formats: Annotated[list[Literal["pdf", "png", "svg"]], Field(min_length=1)] = Field(
        ["pdf", "png", "svg"]
    )
    """of its files, besides the numbers that are drawn (`.csv`)"""
    dpi: Annotated[int, Field(ge=50, le=1200)] = 200
    """dots per inch of PNG files"""
    palette: Literal[tuple(PALETTES)] = "okabe_ito"
    """colours of lines and dots; all can be told apart by the colour-blind"""


_FigureBlock = _in_short(
    FigureBlock,
    Name | FigureBlock,
    lambda value: {"sweep": value} if isinstance(value, str) else value,
)
_SweepBlock = _in_short(SweepBlock, SweepBlock | None, lambda value: {} if value is None else value)


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
    style: Style = Style()
    """how figures look (see below)"""
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
    def load(
        cls,
        *paths: Path | str,
        overrides: Mapping[str, Any] | None = None,
        named: str = "--config",
    ) -> Config:
        """Read, merge and check YAML files; later ones replace values of earlier ones.

        Mappings are merged, lists replaced. `overrides` come last, as on Snakemake's command line:
        strings in them are read as YAML; messages call them `named`. Raises ConfigError, which
        names the first mistakes.
        """
        raw: dict = {}
        places: dict[Key, str] = {}
        for path in paths:
            content, found = _parse(read_bytes(Path(path), MOST_BYTES, ConfigError), str(path))
            if not isinstance(content, dict):
                raise ConfigError(f"{path}: must be a mapping of keys to values")
            raw = _merged(raw, content)
            places |= found
        given, found = _parse(dict(overrides or {}), named)
        config = cls.parse(_merged(raw, given), places | dict.fromkeys(found, named))
        if len(config.to_json().encode()) > MOST_BYTES - 100:  # jobs read it, with two more keys
            raise ConfigError(f"{[*paths, named][0]}: {_TOO_LARGE}, aliases and ranges written out")
        return config

    @classmethod
    def parse(cls, raw: Any, places: dict[Key, str] | None = None) -> Config:
        """Check the content of YAML files; raises ConfigError, which names the first mistakes."""
        try:
            config = cls.model_validate(raw, context={"left": MOST_POINTS})
        except ValidationError as error:
            raise ConfigError(*_lines(_mistakes(error, raw), places or {})) from None
        config._places = places or {}
        config.refuse(config._wrong_names())
        return config

    def refuse(self, mistakes: Iterable[Mistake]) -> None:
        """Raise ConfigError if there are mistakes; it names the lines of the first ones."""
        if lines := _lines(mistakes, self._places):
            raise ConfigError(*lines)

    def _wrong_names(self) -> Iterable[Mistake]:
        if self.name in _FOLDERS:
            yield ("name",), f"{_shown(self.name)} is a folder in results; allowed: another name"
        names = [entry.name for entry in self.pretrained]
        for i, entry in enumerate(self.pretrained):
            if entry.name in names[:i]:
                yield ("pretrained", i, "name"), f'"{entry.name}" is used twice; allowed: a new one'
            for key, text in entry.mistakes():
                yield ("pretrained", i, key), text
        for name, block in self.sweeps.items():
            points = [(("sweeps", name, "points", i), p) for i, p in enumerate(block.points or [])]
            for where, entry in [(("sweeps", name), block), *points]:
                if entry.preset is not None and entry.preset not in self.presets:
                    yield (*where, "preset"), _unknown("preset", entry.preset, self.presets)
            for where, point in points:
                for key in sorted((point.model_fields_set & block.model_fields_set) - {"preset"}):
                    allowed = "in the sweep or in its points, not in both"
                    yield (*where, key), f"is set in the sweep too; allowed: {allowed}"
        for name, figure in self.figures.items():
            where = ("figures", name)
            if figure.sweep not in self.sweeps:
                yield where, _unknown("sweep", figure.sweep, self.sweeps)
            if name in PRETRAINED_FIGURES:
                yield where, "is drawn from `pretrained` models; allowed: another name"
            elif figure.plot is None and name not in PAPER_FIGURES:
                allowed = f"{{plot: one in config/README.md, sweep: {figure.sweep}}}"
                close = suggestion(name, PAPER_FIGURES)
                yield where, f"needs a plot{close}; allowed: {allowed}, or a figure of the papers"

    def drawings(self) -> dict[str, Figure]:
        """Return the figures of the config, with their plots and titles."""
        found = {}
        for name, block in self.figures.items():
            known = PAPER_FIGURES.get(name, Figure("", name.replace("_", " "), OWN_GROUP))
            plot, title = block.plot or known.plot, block.title or known.title
            found[name] = Figure(plot, title, known.group, block.sweep, block.width)
        return found | (PRETRAINED_FIGURES if self.pretrained else {})

    def style_of(self, figure: Figure) -> Style:
        return self.style.model_copy(update={"width": figure.width or self.style.width})

    def executed(self, submitted: bool) -> Config:
        """Fill in `job_minutes` and `hardware`, which depend on whether jobs are submitted."""
        usual = zip(_HOW, (30.0, "gpu") if submitted else (1.0, "cpu"), strict=True)
        missing = {name: value for name, value in usual if getattr(self, name) is None}
        return self.model_copy(update=missing)

    def settings_given(self) -> list[str]:
        """List the settings that have a value anywhere in the config, in the order of NAMES."""
        blocks = [self.defaults, *self.families.values(), *self.presets.values()]
        for sweep in self.sweeps.values():
            blocks += [sweep, *(sweep.points or [])]
        given = set().union(*(block.model_fields_set for block in blocks))
        return [name for name in NAMES if name in given]

    def to_json(self) -> str:
        """Write the whole config as text that `Config.load` reads back."""
        # YAML readers take the escapes of JSON for halves of a character.
        return json.dumps(self.model_dump(exclude_unset=True), ensure_ascii=False) + "\n"

    def given(self, *but: str) -> dict[str, Any]:
        """Return the keys that were given, but not how jobs run, which runs count, and others."""
        return self.model_dump(exclude_unset=True, exclude={*_HOW, "stale", *but})

    @property
    def digest(self) -> str:
        """Identify everything that results depend on (not how jobs run or figures look)."""
        return digest_of(self.given("style"))


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check and return the values of some settings; raises UserError naming the mistakes."""
    try:
        return Block.model_validate(dict(given)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise UserError("; ".join(_lines(_mistakes(error, given, Block), {}))) from None


def read_value(text: str) -> Any:
    """Read a string as YAML: a number, true or false, or the string itself."""
    try:
        return _parse(text, "")[0]
    except ConfigError:
        return text


def _merged(under: dict, over: dict) -> dict:
    """Return `under` with the values of `over`, as Snakemake merges config files."""
    found = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key], value) if both else value
    return found


class _Plain(yaml.SafeDumper):
    """Writes strings so that they are read as YAML: Snakemake leaves numbers as strings."""


_Plain.yaml_implicit_resolvers = {}


class _Loader(Composer, yaml.CSafeLoader):
    """A safe YAML loader that reads 1e-3 as a number, dates as text, and no key twice.

    The parser is that of libyaml, four times as fast as the one in Python.
    """

    def __init__(self, content: bytes | str, path: str):
        yaml.CSafeLoader.__init__(self, content)
        Composer.__init__(self)
        self.path, self.places, self.left = path, {}, MOST_BYTES

    def visit(self, node: yaml.Node, key: Key = ()) -> None:
        """Note the place of each key, and check the nodes, those of aliases each time again."""
        self.places.setdefault(key, f"{self.path}, line {node.start_mark.line + 1}")
        self.left -= len(node.value) + 1
        if self.left < 0:  # aliases can explode
            self.refuse(node, f"{_TOO_LARGE}, aliases written out")
        if node.tag not in (_TEXT, self.resolve(type(node), node.value, (True, False))):
            tag = node.tag.rpartition(":")[2]
            self.refuse(node, f"the tag {tag} does not fit; allowed: leaving it out")
        if isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.visit(value, (*key, index))
        elif isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                own = (*key, name.value)
                if not isinstance(name, yaml.ScalarNode):
                    self.refuse(name, "a key must be text")
                if own in self.places:
                    self.refuse(name, f"the key {_shown(name.value)} is given twice")
                self.visit(name, own)
                self.visit(value, own)
        elif len(node.value) > 100:  # no number that we need, and too long to be shown as one
            node.tag = _TEXT

    def refuse(self, node: yaml.Node, text: str) -> None:
        """Raise ConfigError that names the line of a node."""
        raise ConfigError(f"{self.path}, line {node.start_mark.line + 1}: {text}")


_TEXT = "tag:yaml.org,2002:str"
_TOO_LARGE = f"must be at most {MOST_BYTES:,} bytes"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith("timestamp")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_bytes(path: Path, most: int, mistake: type[UserError] = UserError) -> bytes:
    """Read a file of at most so many bytes; raises a `mistake` if it is anything else."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise mistake(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise mistake(f"{path}: must be at most {most:,} bytes")
    return content


def _parse(content: bytes | str | dict, path: str) -> tuple[Any, dict[Key, str]]:
    """Read YAML and the place of each key (`FILE, line N`); raises ConfigError if it is broken."""
    try:
        if isinstance(content, dict):
            content = yaml.dump(content, Dumper=_Plain, sort_keys=False)
        loader = _Loader(content, path)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        loader.visit(node)
        return loader.construct_document(node), loader.places
    except RecursionError:
        raise ConfigError(f"{path}: must be nested less deep") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}"
        ) from None


def _lines(mistakes: Iterable[Mistake], places: dict[Key, str]) -> list[str]:
    """Write the first mistakes, a line for each; the others are not even looked for."""
    lines: dict[str, None] = {}
    for key, text in mistakes:
        if len(lines) == MOST_MISTAKES:
            return [*lines, "there are more mistakes; correct these first"]
        found = next((places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in places), None)
        lines[": ".join(filter(None, [found, _spelt(key) or "(top level)", text]))] = None
    return list(lines)


def _spelt(key: Key) -> str:
    """Write a key as a person would: `sweeps.rates.points[0].layers`."""
    parts = (f"[{k}]" if isinstance(k, int) else f".{one_line(k, 80)}" for k in key)
    return "".join(parts).strip(".")


def _shown(value: Any) -> str:
    """Write a value for an error message: on one line and not too long."""
    return one_line(json.dumps(value, default=str, ensure_ascii=False, skipkeys=True), 80)


def _unknown(kind: str, word: Any, known: Iterable[str]) -> str:
    close, allowed = suggestion(word, known), ", ".join(known) or "none is defined"
    return f"unknown {kind} {_shown(word)}{close}; allowed: {allowed}"


_MODELS = {
    "families": FamilyBlock,
    "defaults": Block,
    "presets": Block,
    "sweeps": SweepBlock,
    "points": Point,
    "figures": FigureBlock,
    "style": Style,
    "pretrained": PretrainedModel,
}


def _mistakes(
    error: ValidationError, raw: Any, model: type[BaseModel] = Config
) -> Iterator[Mistake]:
    """Translate the errors of pydantic: which key, and what is allowed there."""
    for detail in error.errors():
        key, value, kind, needed = detail["loc"], detail["input"], detail["type"], detail["msg"]
        if kind == "missing":
            yield key, "is missing"
            continue
        if kind == "extra_forbidden":
            section = next((_MODELS[part] for part in key[-2::-1] if part in _MODELS), model)
            yield key, _unknown("key", key[-1], section.model_fields)
            continue
        if kind == "string_pattern_mismatch":
            pattern = detail["ctx"]["pattern"]
            needed = next(text for part, text in _PATTERNS.items() if part in pattern)
        for theirs, ours in _WORDS.items():
            needed = re.sub(theirs, ours, needed)
        known = re.findall(r"'([^']*)'", detail["msg"]) if kind == "literal_error" else []
        if key[-1:] == ("[key]",):
            if known:
                yield key[:-1], _unknown("key", value, known)
                continue
            key, needed = key[:-2], f"a key {needed}"
        elif key and isinstance(key[-1], int) and not _is_list(raw, key[:-1]):
            key = key[:-1]  # one value, or a range, that became a list
        yield key, f"{needed}, got {_shown(value)}{suggestion(value, known)}"


def _is_list(value: Any, key: Key) -> bool:
    for part in key:
        value = value[part] if isinstance(value, list) else (value or {}).get(part)
    return isinstance(value, list)


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
    "[0-9a-f]{40}": "must be a full commit or digest: 40 hexadecimal digits",
    "/": "must be an id on the hub, OWNER/NAME",
    "{}": "must be one line of at most 80 characters, without braces",
    "": "must be a name: at most 32 lower-case letters, digits and _, starting with a letter",
}
