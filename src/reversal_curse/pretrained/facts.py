"""The facts that a pretrained model is fine-tuned on and asked for.

A table with the columns `subject`, `object`, `forward` and `reverse`. The last two are sentences
with the slots `{subject}` and `{object}`: in the forward sentence the object comes last, in the
reverse sentence the subject, so that models that read from left to right can be asked for both.
Ours (`facts.csv`) is made up throughout, lest a model knew a fact before. A word stands before
every entity in it: tokenizers write a name at the start of a sentence in other tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from reversal_curse.errors import UserError, first_line
from reversal_curse.provenance import digest

SHIPPED = Path(__file__).with_name("facts.csv")
COLUMNS = ("subject", "object", "forward", "reverse")
SLOTS = ("{subject}", "{object}")


@dataclass(frozen=True)
class Fact:
    """One fact; `relation` counts the pairs of templates in the order of the table."""

    subject: str
    object: str
    forward: str
    reverse: str
    relation: int

    def sentence(self, direction: str) -> tuple[str, dict[str, tuple[int, int]]]:
        """The sentence of a direction, and where subject and object stand in it (characters)."""
        text, places = "", {}
        for part in re.split(r"(\{subject\}|\{object\})", getattr(self, direction)):
            if part in SLOTS:
                name = part[1:-1]
                places[name] = (len(text), len(text) + len(getattr(self, name)))
                text += getattr(self, name)
            else:
                text += part
        return text, places


def facts_path(given: str | None) -> Path:
    """The file of an entry's facts: ours, where the entry names none."""
    return Path(given) if given else SHIPPED


def facts_version(given: str | None) -> str:
    """A digest of the facts, for Snakemake; a file that is missing is answered by the job."""
    path = facts_path(given)
    return digest([path]) if path.is_file() else "missing"


def read_facts(given: str | None) -> list[Fact]:
    """Read and check a table of facts; raises UserError, which names the row."""
    path = facts_path(given)
    rows = _read(path).rows(named=True)
    if len(rows) < 2:
        raise UserError(f"{path}: {len(rows)} facts; at least two are needed, each other's control")
    relations: dict[tuple[str, str], int] = {}
    facts: list[Fact] = []
    for number, row in enumerate(rows, start=1):
        where = f"{path}, fact {number}"
        for name in COLUMNS:
            if not row[name] or row[name] != row[name].strip():
                raise UserError(f"{where}: {name} is empty or has spaces around it")
        _check_template(f"{where}: forward", row["forward"], last="{object}")
        _check_template(f"{where}: reverse", row["reverse"], last="{subject}")
        relation = relations.setdefault((row["forward"], row["reverse"]), len(relations))
        facts.append(Fact(**row, relation=relation))
    _check_unique(path, facts)
    return facts


def _read(path: Path) -> pl.DataFrame:
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"{path}: facts must be a .csv or .parquet file")
    try:
        if path.suffix == ".csv":
            frame = pl.read_csv(path, infer_schema=False)
        else:
            frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UserError(f"{path}: facts cannot be read: {first_line(error)}") from None
    for name in COLUMNS:
        if frame.schema.get(name) != pl.String:
            found = frame.schema.get(name, "missing")
            raise UserError(f"{path}: column {name} is {found}; facts have {', '.join(COLUMNS)}")
    return frame.select(COLUMNS)


def _check_template(where: str, template: str, last: str) -> None:
    for slot in SLOTS:
        if template.count(slot) != 1:
            raise UserError(f"{where}: {template!r} must have the slot {slot} once")
    if re.search(r"\w", template.partition(last)[2]):
        raise UserError(f"{where}: {template!r} must end with {last}, the answer")


def _check_unique(path: Path, facts: list[Fact]) -> None:
    """A question with two right answers measures nothing."""
    seen: dict[tuple, int] = {}
    for number, fact in enumerate(facts, start=1):
        for key in ((fact.forward, fact.subject), (fact.reverse, fact.object)):
            if key in seen:
                raise UserError(
                    f"{path}, fact {number}: {key[1]!r} is asked for in fact {seen[key]} too: "
                    "a question must have one answer"
                )
            seen[key] = number
