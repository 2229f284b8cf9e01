"""The facts that a pretrained model is fine-tuned on and asked for, as sentences and as tokens.

A table with the columns `subject`, `object`, `forward` and `reverse`. The last two are sentences
with the slots `{subject}` and `{object}`: in the forward sentence the object comes last, in the
reverse sentence the subject, so that models that read from left to right can be asked for both.
Ours (`facts.csv`) is made up throughout, so that no model knows a fact before. A word stands before
every entity in it: tokenizers write a name at the start of a sentence in other tokens.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from reversal_curse.config.errors import UserError, first_line

SHIPPED = Path(__file__).with_name("facts.csv")
COLUMNS = ("subject", "object", "forward", "reverse")
ANSWERS = {"forward": "object", "reverse": "subject"}
"""Which entity a direction asks for: the one at the end."""


@dataclass(frozen=True)
class Fact:
    """One fact; `relation` counts the pairs of templates in the order of the table."""

    subject: str
    object: str
    forward: str
    reverse: str
    relation: int

    def sentence(self, direction: str) -> tuple[str, dict[str, tuple[int, int]]]:
        """Write a direction's sentence; say where subject and object stand in it (characters)."""
        text, places = "", {}
        for index, part in enumerate(re.split(r"\{(subject|object)\}", getattr(self, direction))):
            if index % 2:  # the name of a slot
                entity = getattr(self, part)
                places[part] = (len(text), len(text) + len(entity))
                text += entity
            else:
                text += part
        return text, places


@dataclass(frozen=True)
class Layout:
    """The tokens of one sentence of a fact (its index), and spans (start, end) of entities."""

    tokens: tuple[int, ...]
    subject: tuple[int, int]
    object: tuple[int, int]
    answer: tuple[int, int]
    fact: int


@dataclass(frozen=True)
class Questions:
    """The facts as tokens, in both directions, and the same with wrong answers.

    Those are of the next fact of the relation; there are none for facts that are alone in it.
    """

    facts: list[Fact]
    right: dict[str, list[Layout]]
    wrong: dict[str, list[Layout]]

    @classmethod
    def of(cls, facts: list[Fact], tokenizer: Any, shifted: bool = False) -> Questions:
        """Lay out facts; raises UserError where tokenizer or model (`shifted`) cannot have one."""
        questions = cls(facts, {name: [] for name in ANSWERS}, {name: [] for name in ANSWERS})
        for index, fact in enumerate(facts):
            alike = [other for other in facts if other.relation == fact.relation]
            other = alike[(alike.index(fact) + 1) % len(alike)]
            for direction, answer in ANSWERS.items():
                layout = lay_out(index, fact, tokenizer, direction)
                if shifted and 0 in (layout.subject[0], layout.object[0]):
                    wrong = "a model that is shifted says nothing of the first token: put a word "
                    raise UserError(f"fact {index + 1}: {wrong}before the entity in its templates")
                questions.right[direction].append(layout)
                if other is not fact:
                    swapped = replace(fact, **{answer: getattr(other, answer)})
                    wrong = lay_out(index, swapped, tokenizer, direction)
                    questions.wrong[direction].append(wrong)
        return questions


def facts_version(given: str | None) -> str:
    """Digest the facts, for Snakemake; a file that is missing is answered by the job."""
    path = Path(given or SHIPPED)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "missing"


def read_facts(given: str | None) -> list[Fact]:
    """Read and check a table of facts, ours by default; raises UserError, which names the row."""
    path = Path(given or SHIPPED)
    rows = _read(path).rows(named=True)
    if len(rows) < 2:
        raise UserError(f"{path}: {len(rows)} facts; at least two are needed, each other's control")
    relations: dict[tuple[str, str], int] = {}
    asked: dict[tuple[str, str], int] = {}
    facts: list[Fact] = []
    for number, row in enumerate(rows, start=1):
        where = f"{path}, fact {number}"
        for name in COLUMNS:
            if not row[name] or row[name] != row[name].strip():
                raise UserError(f"{where}: {name} is empty or has spaces around it")
        for direction, known in (("forward", "subject"), ("reverse", "object")):
            template, last = row[direction], f"{{{ANSWERS[direction]}}}"
            once = all(template.count(slot) == 1 for slot in ("{subject}", "{object}"))
            if not once or re.search(r"\w", template.partition(last)[2]):
                text = "must have the slots {subject} and {object} once each, and end with"
                raise UserError(f"{where}: {direction}: {template!r} {text} {last}, the answer")
            earlier = asked.setdefault((template, row[known]), number)
            if earlier != number:
                text = f"{row[known]!r} is asked for in fact {earlier} too"
                raise UserError(f"{where}: {text}: a question must have one answer")
        relation = relations.setdefault((row["forward"], row["reverse"]), len(relations))
        facts.append(Fact(**row, relation=relation))
    return facts


def _read(path: Path) -> pl.DataFrame:
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"{path}: facts must be a .csv or .parquet file")
    try:
        csv = path.suffix == ".csv"
        frame = pl.read_csv(path, infer_schema=False) if csv else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UserError(f"{path}: facts cannot be read: {first_line(error)}") from None
    for name in COLUMNS:
        found = frame.schema.get(name, "missing")
        if found != pl.String:
            raise UserError(f"{path}: column {name} is {found}; facts have {', '.join(COLUMNS)}")
    return frame.select(COLUMNS)


def lay_out(index: int, fact: Fact, tokenizer: Any, direction: str) -> Layout:
    """Tokenise one sentence; raises UserError where an entity is no run of tokens.

    Spans are found by tokenising beginnings of the sentence; else as the sentence begins, a token
    runs over an edge. The space before an entity belongs to it, as in most tokenizers.
    """
    text, places = fact.sentence(direction)
    around = tokenizer(text)["input_ids"]  # with [CLS] and [SEP], or the like
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    lead = next((i for i in range(len(around)) if around[i : i + len(whole)] == whole), None)
    if lead is None:
        problem = "the tokenizer writes it in other tokens where it adds its special ones"
        raise UserError(f"{text!r}: {problem}; such a tokenizer cannot be used")
    spans = {}
    for name, (start, end) in places.items():
        where = f"fact {index + 1} ({text[start:end]!r} in {text!r})"
        edges = []
        for beginning in (text[:start].rstrip(), text[:end]):
            ids = tokenizer(beginning, add_special_tokens=False)["input_ids"] if beginning else []
            equal = [a == b for a, b in zip(ids, [*whole, None], strict=False)]
            if not all(equal):
                cut = tokenizer.convert_ids_to_tokens(
                    whole[min(equal.index(False), len(whole) - 1)]
                )
                raise UserError(
                    f"{where}: the tokenizer's token {cut!r} runs over the edge of the entity; put "
                    "a space before it and a space or a full stop after it, or leave the fact out"
                )
            edges.append(len(ids))
        first, last = edges
        if first == last or tokenizer.unk_token_id in whole[first:last]:
            text = "the tokenizer does not know all of it: use names in letters that it knows"
            raise UserError(f"{where}: {text}")
        spans[name] = (lead + first, lead + last)
    return Layout(tuple(around), **spans, answer=spans[ANSWERS[direction]], fact=index)
