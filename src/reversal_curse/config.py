"""The config: typed, with one-line errors.

`Config.parse` takes what YAML gave and returns a checked object or raises `ConfigError`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
)

from reversal_curse.cost import HARDWARE
from reversal_curse.errors import ConfigError
from reversal_curse.pretrained.entry import PretrainedModel, check_entries
from reversal_curse.registry import FAMILIES, FIGURES
from reversal_curse.settings import AXES, FIXED, Name, Settings

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
DEFAULT_VARIANT = "default"
MAX_POINTS = 500  # a sweep travels to its jobs as an argument, which has room for no more


def _setting(name: str) -> Any:
    """The annotated type of one setting, with its limits."""
    field = Settings.model_fields[name]
    return Annotated[field.annotation, Field(), *field.metadata]


def _optional_settings(model_name: str, doc: str, names: tuple[str, ...]) -> type[BaseModel]:
    """A model in which each of the named settings may be given, and nothing else."""
    fields = {
        name: (_setting(name), Field(None, description=Settings.model_fields[name].description))
        for name in names
    }
    return create_model(model_name, __config__=_STRICT, __doc__=doc, **fields)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _one_or_more(name: str) -> Any:
    """One value of an axis or a non-empty list of values."""
    kind = _setting(name)
    values = Annotated[list[kind], Field(min_length=1)]
    return Annotated[values, BeforeValidator(_as_list, json_schema_input_type=kind | values)]


Defaults = _optional_settings(
    "Defaults",
    "Settings of every grid point unless a family, a variant or a sweep says otherwise.",
    tuple(name for name in (*AXES, *FIXED) if name != "variant"),
)
FixedOverrides = _optional_settings(
    "FixedOverrides", "Settings that are no axes, for one family or one variant.", FIXED
)
AxisOverrides = _optional_settings("AxisOverrides", "Axis values that belong together.", AXES)


class _SweepBase(BaseModel):
    model_config = _STRICT

    name: Name = Field(description="what figures and `snakemake` call it")
    points: Annotated[list[AxisOverrides], Field(min_length=1, max_length=MAX_POINTS)] = Field(
        None, description="axis values that go together, where a product would be too much"
    )


Sweep = create_model(
    "Sweep",
    __base__=_SweepBase,
    __doc__="A block of grid points: the product of its lists, times its `points`.",
    **{
        axis: (_one_or_more(axis), Field(None, description=Settings.model_fields[axis].description))
        for axis in AXES
    },
)


EXECUTION_KEYS = ("job_minutes", "hardware", "retries")
"""Keys that say how jobs run and change nothing in what comes out."""


class Config(BaseModel):
    """A whole config file."""

    model_config = _STRICT

    defaults: Defaults = Field(Defaults(), description="settings of every grid point")
    families: dict[Literal[tuple(FAMILIES)], FixedOverrides] = Field(
        {}, description="per family, settings that differ from `defaults`"
    )
    variants: dict[Name, FixedOverrides] = Field(
        {}, description="named sets of settings that a sweep picks with `variant`"
    )
    sweeps: Annotated[list[Sweep], Field(min_length=1)] = Field(
        description="blocks of grid points; where they overlap, a point is trained once"
    )
    figures: dict[Literal[tuple(FIGURES)], Name] = Field(
        {}, description="per figure, the sweep that it reads"
    )
    pretrained: list[PretrainedModel] = Field(
        [], description="pretrained models to probe (see below); none are downloaded by default"
    )
    job_minutes: float = Field(
        1.0,
        description="small grid points share a training job until it takes this long by estimate; "
        "0: each has its own",
        ge=0,
    )
    hardware: Literal[tuple(HARDWARE)] = Field(
        "cpu", description="what training runs on, for estimates: `cpu` (one core) or `gpu`"
    )
    retries: int = Field(0, description="how often a job that failed is tried again", ge=0, le=100)

    @classmethod
    def parse(cls, raw: Any) -> Config:
        """Check what a YAML file held; raises ConfigError, which names the key."""
        if not isinstance(raw, dict):
            raise ConfigError("(top level)", f"{_shown(raw)} is no mapping", _keys(cls))
        try:
            config = cls.model_validate(raw)
        except ValidationError as error:
            raise _first_error(error, raw) from None
        config._check_names()
        return config

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read and check a YAML file."""
        return cls.parse(read_yaml(path))

    def _check_names(self) -> None:
        check_entries(self.pretrained)
        names = [sweep.name for sweep in self.sweeps]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ConfigError(
                    f"sweeps[{index}].name", f"{_shown(name)} is used twice", "a name of its own"
                )
        if DEFAULT_VARIANT in self.variants:
            raise ConfigError(
                "variants.default",
                "the name is taken",
                "another name; `defaults` holds the default",
            )
        for figure, sweep in self.figures.items():
            if sweep not in names:
                raise ConfigError(
                    f"figures.{figure}", f"no sweep {_shown(sweep)}", ", ".join(names)
                )
        for index, sweep in enumerate(self.sweeps):
            for where, point in _labelled_points(sweep):
                for axis in point.model_fields_set & sweep.model_fields_set:
                    raise ConfigError(
                        f"sweeps[{index}]{where}.{axis}",
                        "the sweep has a list of this axis too",
                        "an axis in the list or in `points`, not in both",
                    )
            for where, values in [("", sweep), *_labelled_points(sweep)]:
                for variant in _as_list(values.variant) if values.variant else []:
                    if variant != DEFAULT_VARIANT and variant not in self.variants:
                        raise ConfigError(
                            f"sweeps[{index}]{where}.variant",
                            f"no variant {_shown(variant)}",
                            ", ".join([DEFAULT_VARIANT, *self.variants]),
                        )

    def only(self, *sweeps: str) -> Config:
        """This config with the named sweeps alone, and just the variants that they use."""
        chosen = [sweep for sweep in self.sweeps if sweep.name in sweeps]
        used = {
            variant
            for sweep in chosen
            for values in [sweep, *(sweep.points or [])]
            for variant in (_as_list(values.variant) if values.variant else [])
        }
        variants = {name: block for name, block in self.variants.items() if name in used}
        kept = {"sweeps": chosen, "variants": variants, "figures": {}, "pretrained": []}
        return self.model_copy(update=kept)

    def to_json(self) -> str:
        """One line that `Config.parse` reads back: what results depend on, as far as given."""
        content = self.model_dump(
            exclude_unset=True, exclude_defaults=True, exclude=set(EXECUTION_KEYS)
        )
        return json.dumps(content, sort_keys=True)


def _labelled_points(sweep: Any) -> list[tuple[str, Any]]:
    return [(f".points[{i}]", point) for i, point in enumerate(sweep.points or [])]


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not a silent loss."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {_shown(key)} stands twice", problem_mark=key_node.start_mark
                )
            if key is not None:
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; raises ConfigError, which names the line."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = f"no YAML: {_one_line(error.problem)}"
        raise ConfigError(f"{path}, line {line}", problem, "YAML, each key once") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"no YAML: {_one_line(error)}", "YAML") from None
    except OSError as error:
        raise ConfigError(str(path), _one_line(error.strerror), "a readable file") from None
    except RecursionError:
        raise ConfigError(
            str(path), "nested too deeply", "a config as in config/README.md"
        ) from None


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())


def _shown(value: Any) -> str:
    """A value as it stands in an error message: on one line and not too long."""
    text = _one_line(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= 80 else text[:77] + "..."


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


_MODELS_BY_KEY = {
    "defaults": Defaults,
    "families": FixedOverrides,
    "variants": FixedOverrides,
    "points": AxisOverrides,
    "sweeps": Sweep,
    "pretrained": PretrainedModel,
}


def _first_error(error: ValidationError, raw: Any) -> ConfigError:
    """The first complaint of pydantic, as key, value and what is allowed."""
    # A misspelt key explains a missing one, so it comes first.
    detail = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    path = [part for part in detail["loc"] if part != "[key]"]
    key, value = _locate(path, raw)
    key = key or "(top level)"
    kind, context = detail["type"], detail.get("ctx", {})
    if "[key]" in detail["loc"]:
        return ConfigError(key, f"unknown key {_shown(path[-1])}", _allowed(kind, context))
    if kind == "extra_forbidden":
        if path[-1] in FIXED and {"sweeps", "points"} & set(path):
            return ConfigError(
                key, "is no axis", "in `defaults`, `families`, or a variant that the sweep names"
            )
        sections = [part for part in path[:-1] if part in _MODELS_BY_KEY]
        model = _MODELS_BY_KEY[sections[-1]] if sections else Config
        return ConfigError(key, "unknown key", _keys(model))
    if kind == "missing":
        return ConfigError(key, "is missing", "every key without a default must be given")
    return ConfigError(key, f"{_shown(value)} is refused", _allowed(kind, context))


def _locate(path: list, raw: Any) -> tuple[str, Any]:
    """The key as a person would write it, and the value that stands there."""
    key, value = "", raw
    for part in path:
        if isinstance(part, int):
            if not isinstance(value, list):  # a single value that was taken as a list of one
                continue
            key, value = f"{key}[{part}]", value[part]
        else:
            key = f"{key}.{part}" if key else str(part)
            value = value.get(part) if isinstance(value, dict) else None
    return key, value


def _allowed(kind: str, context: dict) -> str:
    """What would have been right, for each kind of pydantic error a config can cause."""
    fixed = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number (YAML reads 1e-3 as text: write 0.001 or 1.0e-3)",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "a text",
        "list_type": "a list",
        "dict_type": "a mapping of keys to values",
        "model_type": "a mapping of keys to values",
        "too_short": "a list with at least one value",
        "invalid_key": "keys that are texts",
        "string_pattern_mismatch": "a name of lower-case letters, digits and _ that starts with a "
        "letter, at most 24 long",
    }
    bounds = {
        "greater_than_equal": ("at least", "ge"),
        "greater_than": ("greater than", "gt"),
        "less_than_equal": ("at most", "le"),
        "less_than": ("less than", "lt"),
    }
    if kind == "string_pattern_mismatch" and "[0-9a-f]{40}" in context["pattern"]:
        return "a full commit or SHA-1: 40 hexadecimal digits"
    if kind == "string_pattern_mismatch" and "/" in context["pattern"]:
        return "an id as on the hub, OWNER/NAME"
    if kind in fixed:
        return fixed[kind]
    if kind == "too_long":
        return f"at most {context['max_length']} of them; lists that multiply have no limit"
    if kind in bounds:
        words, bound = bounds[kind]
        return f"{words} {context[bound]}"
    if kind == "literal_error":
        return context["expected"].replace("'", "")
    return "see config/README.md"
