"""Generate documents from the typed config and the table schemas, so that they cannot drift.

They are the JSON schema of the config, the tables of keys in `config/README.md` and the tables of
columns in `results/README.md`. `make docs` writes them; a test compares.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config, FigureBlock, Style
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.config.settings import ABOUT, NAMES, Settings
from reversal_curse.families import FAMILIES
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tables.table import Column, Table
from reversal_curse.tasks import TASKS
from reversal_curse.tasks.masking_arms import MASKINGS

TRANSFORMERS = {f"`{name}`" for name, f in FAMILIES.items() if "transformer" in f.parts}
SCHEMA = Path("workflow/schemas/config.schema.json")


def config_schema() -> str:
    """Return the JSON schema of the config, as the text of its file."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    schema = {"$schema": draft, **Config.model_json_schema()}
    for mapping in schema["properties"].values():
        if "patternProperties" in mapping:
            mapping["additionalProperties"] = False  # only names are keys, as in the typed config
    return json.dumps(schema, indent=2) + "\n"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(row)} |".replace("\n", " ") for row in lines)


def _settings() -> str:
    properties = Settings.model_json_schema()["properties"]
    rows = [
        (
            f"`{name}`",
            Settings.model_fields[name].description,
            _allowed(properties[name]),
            f"`{json.dumps(properties[name]['default'])}`".replace('"', ""),
            _applies(name),
        )
        for name in NAMES
    ]
    return _table(("setting", "meaning", "allowed", "built-in default", "applies to"), rows)


def _applies(name: str) -> str:
    """Name the families and tasks that have a setting, and the other settings that it needs."""
    about = ABOUT[name]
    families = [f"`{key}`" for key, f in FAMILIES.items() if not about.of or about.of in f.parts]
    tasks = [f"`{key}`" for key, task in TASKS.items() if about.of in task.parts]
    if len(families) == len(FAMILIES):
        families = []
    elif set(families) >= TRANSFORMERS:
        families = ["transformers", *(key for key in families if key not in TRANSFORMERS)]
    parts = [", ".join(families), f"task {', '.join(tasks)}" if tasks else ""]
    parts += [f"`{n}` {', '.join(f'`{v}`' for v in values)}" for n, values in about.needs.items()]
    return "; ".join(filter(None, parts)) or "all"


def _allowed(schema: dict) -> str:
    """Put into words what a JSON schema allows."""
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "boolean":
        return "`true`, `false`"
    kind = {"integer": "whole number", "number": "number"}[schema["type"]]
    bounds = {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
    }
    shown = {key: sign for key, sign in bounds.items() if schema.get(key, 1e6) < 1e6}
    limits = [f"{sign} {schema[key]:g}" for key, sign in shown.items()]
    return " ".join([kind, " and ".join(limits)])


def _keys(model: type[BaseModel]) -> str:
    fields = model.model_fields.items()
    return _table(("key", "meaning"), [(f"`{name}`", field.description) for name, field in fields])


def _pretrained() -> str:
    fields = PretrainedModel.model_fields.items()
    rows = [
        (
            f"`{name}`",
            field.description,
            "needed"
            if field.is_required()
            else "–"
            if field.default is None
            else f"`{json.dumps(field.default)}`".replace('"', ""),
        )
        for name, field in fields
    ]
    return _table(("key", "meaning", "default"), rows)


def _described(entries: dict) -> str:
    return _table(
        ("name", "what it is"),
        [(f"`{name}`", entry.description) for name, entry in entries.items()],
    )


def _tasks() -> str:
    header = ("name", "what it is", "smallest `vocab_size`")
    return _table(
        header, [(f"`{name}`", t.description, str(t.min_vocab_size)) for name, t in TASKS.items()]
    )


def _plots() -> str:
    rows: dict[str, tuple[str, ...]] = {}
    for name, plot in PLOTS.items():
        if not plot.pretrained:
            # The caption up to its first stop, or to a later one if another plot begins alike.
            short, longer = (re.split(stop, plot.caption())[0] for stop in ("[.:;] ", "[.;] "))
            shown = longer if short in rows else short
            varies = ", ".join(f"`{setting}`" for setting in plot.varies or ()) or "any setting"
            rows[shown] = (f"`{name}`", shown, varies)
    return _table(("plot", "what it shows", "may vary"), list(rows.values()))


def shared_columns() -> list[Column]:
    """List the columns that several tables share and that tell what a row is about."""
    every = [column for table in TABLES.values() for column in table.columns]
    shared = (c for c in every if every.count(c) > 1 and not c.dtype.is_float())
    return list(dict.fromkeys(shared))


def _shared() -> str:
    """Make the table of shared columns; two of one name belong to different tables."""
    rows = []
    for column in shared_columns():
        having = [name for name, table in TABLES.items() if column in table.columns]
        pretrained = all(name.startswith("pretrained_") for name in having)
        rows.append(_row(column, f"`{column.name}`{' (pretrained)' if pretrained else ''}"))
    return _table(COLUMN, rows)


def _documented(table: Table) -> str:
    """Describe a table: its rows, the families that write it, its shared columns and its own."""
    writing = [f"`{name}`" for name, family in FAMILIES.items() if table.name in family.tables]
    families = ""
    if writing:
        families = f" Families: {', '.join(writing) if len(writing) < len(FAMILIES) else 'all'}."
    shared = [c for c in table.columns if c in shared_columns()]
    leading = ", ".join(f"`{c.name}`" for c in shared)
    own = [c for c in table.columns if c not in shared]
    if table.name == "points":
        leading, own = "all settings, `run`", [c for c in own if c.name not in (*NAMES, "run")]
    return "\n".join(
        [
            f"One row: {table.row}.{families}{f' Columns: {leading}, and' if leading else ''}",
            "",
            _table(COLUMN, list(dict.fromkeys(map(_own_row, own)))),
        ]
    )


COLUMN = ("column", "type", "unit", "meaning")


def _own_row(column: Column) -> tuple[str, ...]:
    """Return the row that describes a column; both splits of a measure in `points` share one."""
    measure = re.fullmatch(r"(?:train|unseen)_(\w+?)(?:_sd)?", column.name)
    if not measure:
        return _row(column, f"`{column.name}`")
    name, meaning = f"`SPLIT_{measure[1]}`", column.description.partition(": ")[2]
    return name, str(column.dtype), column.unit, meaning


def _row(column: Column, name: str) -> tuple[str, ...]:
    return name, str(column.dtype), column.unit or "–", column.description


def generated_blocks() -> dict[Path, dict[str, str]]:
    """Return each README's texts between `<!-- begin NAME -->` and `<!-- end NAME -->` markers."""
    return {
        Path("config/README.md"): {
            "keys": _keys(Config),
            "pretrained": _pretrained(),
            "figure": _keys(FigureBlock),
            "style": _keys(Style),
            "settings": _settings(),
            "tasks": _tasks(),
            "families": _described(FAMILIES),
            "maskings": _described(MASKINGS),
            "plots": _plots(),
        },
        Path("results/README.md"): {
            "shared": _shared(),
            **{f"table {name}": _documented(table) for name, table in TABLES.items()},
        },
    }


def with_blocks(text: str, blocks: dict[str, str]) -> str:
    """Replace every marked block of `text`; raises UserError if a marker is missing."""
    for name, content in blocks.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise UserError(
                f"no place for the block {name}; write two lines where it belongs: {begin} "
                f"and {end}"
            )
        text = f"{before}{begin}\n{content}\n{end}{after}"
    return text


def with_pins(text: str, root: Path) -> str:
    """Put the versions of `requirements.lock` into a conda environment."""
    lock = (root / "requirements.lock").read_text("utf-8").lower()
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", lock, re.MULTILINE))
    return re.sub(r" - ([\w-]+)==.*", lambda found: f" - {found[1]}=={pins[found[1]]}", text)


def write_docs(root: Path) -> list[Path]:
    """Write the schema and refresh the READMEs below `root`; returns the files.

    Raises UserError, and writes nothing, if a README has no place for a block.
    """
    texts = {root / SCHEMA: config_schema()}
    for path, blocks in generated_blocks().items():
        target = root / path
        try:
            texts[target] = with_blocks(target.read_text(encoding="utf-8"), blocks)
        except UserError as error:
            raise UserError(f"{target}: {error}") from None
    for environment in sorted((root / "workflow/envs").glob("*.yaml")):
        texts[environment] = with_pins(environment.read_text("utf-8"), root)
    for target, text in texts.items():
        target.write_text(text, encoding="utf-8")
    return list(texts)


if __name__ == "__main__":
    try:
        print(*write_docs(Path(__file__).parent.parent), sep="\n")
    except UserError as error:
        sys.exit(str(error))
