"""The facts that a pretrained model is asked and fine-tuned on, as sentences and as tokens.

The table has the columns `subject`, `object`, `forward`, `reverse`. The last two are sentences
with the slots `{subject}` and `{object}`; the forward sentence ends with the object, the reverse
one with the subject, so that causal models can answer both. Ours (`facts.csv`) are made up, so no
model knows them. In each sentence a word precedes every entity, because names at the start of a
sentence have other tokens.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.file import read_bytes

SHIPPED = Path(__file__).with_name("facts.csv")
COLUMNS = ("subject", "object", "forward", "reverse")
MOST_BYTES = 10_000_000
MOST_FACTS = 10_000
LONGEST = 1000  # letters of a name or a template
CANDIDATES = 25
"""At most so many answers to choose from: all of a relation in our table."""
ENTITIES = {"forward": ["subject", "object"], "reverse": ["object", "subject"]}
"""The entities in the order of each direction's sentence: the known one, then the answer."""
_SLOT = r"\{(subject|object)\}"


@dataclass(frozen=True)
class Fact:
    """One fact; `relation` numbers the pairs of templates in the order of the table."""

    subject: str
    object: str
    forward: str
    reverse: str
    relation: int

    def sentence(self, direction: str) -> tuple[str, dict[str, tuple[int, int]]]:
        """Write a direction's sentence; return it and the entities' spans in it (characters)."""
        text, spans = "", {}
        for index, part in enumerate(re.split(_SLOT, getattr(self, direction))):
            added = getattr(self, part) if index % 2 else part  # every second part names a slot
            if index % 2:
                spans[part] = (len(text), len(text) + len(added))
            text += added
        return text, spans


@dataclass(frozen=True)
class Layout:
    """The tokens of one sentence of a fact (its index), and the spans (start, end) of entities."""

    tokens: tuple[int, ...]
    subject: tuple[int, int]
    object: tuple[int, int]
    answer: tuple[int, int]
    fact: int

    @property
    def length(self) -> int:
        """The number of tokens in the answer."""
        return self.answer[1] - self.answer[0]

    def answered_as(self, other: Layout) -> Layout:
        """Put the answer of another sentence in the place of the own one."""
        (start, end), given = self.answer, other.tokens[slice(*other.answer)]
        span = (start, start + len(given))
        asked = "object" if self.answer == self.object else "subject"
        tokens = self.tokens[:start] + given + self.tokens[end:]
        return replace(self, tokens=tokens, answer=span, **{asked: span})

    def echoed(self) -> Layout:
        """Put the entity that the question names in the place of the answer."""
        known = self.subject if self.answer == self.object else self.object
        return self.answered_as(replace(self, answer=known))


@dataclass(frozen=True)
class Questions:
    """The facts as tokens, by direction: with right answers, with wrong ones, with all.

    The wrong answer is that of the next fact of the relation, if it has another fact. The
    candidates of a fact, the right one first, are the answers of its relation. If those are more
    than CANDIDATES, the others are drawn: neighbours in a sorted table would be alike.
    """

    facts: list[Fact]
    right: dict[str, list[Layout]]
    wrong: dict[str, list[Layout]]
    candidates: dict[str, list[list[Layout]]]

    @classmethod
    def of(cls, facts: list[Fact], tokenizer: Any, shifted: bool = False) -> Questions:
        """Lay out facts; raises UserError if the tokenizer or a `shifted` model cannot take one."""
        right = {
            direction: [lay_out(*fact, tokenizer, direction, shifted) for fact in enumerate(facts)]
            for direction in ENTITIES
        }
        wrong, candidates = ({direction: [] for direction in ENTITIES} for _ in range(2))
        for index, fact in enumerate(facts):
            alike = [i for i, other in enumerate(facts) if other.relation == fact.relation]
            place = alike.index(index)
            others = alike[place + 1 :] + alike[:place]
            drawn = random.Random(index).sample(others, min(len(others), CANDIDATES - 1))
            for direction, layouts in right.items():
                own = layouts[index]
                wrong[direction] += [own.answered_as(layouts[i]) for i in others[:1]]
                swapped = [own.answered_as(layouts[i]) for i in drawn]
                candidates[direction].append([own, *swapped])
        return cls(facts, right, wrong, candidates)


def facts_version(given: str | None) -> str:
    """Digest the facts for Snakemake; "missing" if they cannot be read: the job will report it."""
    try:
        return hashlib.sha256(read_bytes(Path(given or SHIPPED), MOST_BYTES)).hexdigest()[:12]
    except UserError:
        return "missing"


def read_facts(given: str | None) -> list[Fact]:
    """Read and check a table of facts, by default ours; a UserError names the row."""
    path = Path(given or SHIPPED)
    rows = _read(path).rows(named=True)
    if not 2 <= len(rows) <= MOST_FACTS:
        got = len(rows) if len(rows) < 2 else "more"
        raise UserError(f"{path}: must have from 2 to {MOST_FACTS:,} facts, got {got}")
    facts: list[Fact] = []
    relations: dict[tuple[str, str], int] = {}
    questions: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, fact {number}"
        for name in COLUMNS:
            if not row[name] or row[name] != row[name].strip() or len(row[name]) > LONGEST:
                wrong = f"is empty, has spaces around it, or is longer than {LONGEST} letters"
                raise UserError(f"{where}: {name} {wrong}")
        for direction, (known, answer) in ENTITIES.items():
            template = row[direction]
            parts = re.split(_SLOT, template)
            if parts[1::2] != [known, answer] or re.search(r"\w", parts[-1]):
                must = f"must have {{{known}}} and {{{answer}}} once each and end with the latter"
                raise UserError(f"{where}: {direction} {must}, got {template!r}")
            earlier = questions.setdefault((template, row[known]), number)
            if earlier != number:
                raise UserError(f"{where}: asks the same about {row[known]!r} as fact {earlier}")
        relation = relations.setdefault((row["forward"], row["reverse"]), len(relations))
        facts.append(Fact(**row, relation=relation))
    return facts


def _read(path: Path) -> pl.DataFrame:
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"{path}: facts must be a .csv or .parquet file")
    content = read_bytes(path, MOST_BYTES)
    try:
        is_csv = path.suffix == ".csv"
        read = partial(pl.read_csv, infer_schema=False) if is_csv else pl.read_parquet
        frame = read(content, n_rows=MOST_FACTS + 1)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UserError(f"{path}: facts cannot be read: {first_line(error)}") from None
    for name in COLUMNS:
        found = frame.schema.get(name, "missing")
        if found != pl.String:
            raise UserError(f"{path}: column {name} is {found}; facts have {', '.join(COLUMNS)}")
    return frame.select(COLUMNS)


def lay_out(
    index: int, fact: Fact, tokenizer: Any, direction: str, shifted: bool = False
) -> Layout:
    """Tokenise one sentence; raises UserError if an entity is not made of whole tokens."""

    def ids(part: str) -> list[int]:
        return tokenizer(part, add_special_tokens=False)["input_ids"] if part else []

    text, places = fact.sentence(direction)
    around, whole = tokenizer(text)["input_ids"], ids(text)  # with [CLS] and [SEP], and without
    lead = next((i for i in range(len(around)) if around[i : i + len(whole)] == whole), None)
    if lead is None:
        raise UserError(f"{text!r}: special tokens change the others; use another tokenizer")
    spans = {}
    for name, (start, end) in places.items():
        where = f"fact {index + 1} ({text[start:end]!r} in {text!r})"
        before, upto = ids(text[:start].rstrip()), ids(text[:end])  # a word's space belongs to it
        for beginning in (before, upto):
            if beginning != whole[: len(beginning)]:  # a token crosses an edge
                others = (own for own, one in zip(whole, beginning, strict=False) if own != one)
                token = tokenizer.convert_ids_to_tokens(next(others, whole[-1]))
                raise UserError(
                    f"{where}: the tokenizer's token {token!r} crosses the edge of the entity; put "
                    "a space before it and a space or a full stop after it, or leave the fact out"
                )
        spans[name] = (lead + len(before), lead + len(upto))
        if len(before) == len(upto) or tokenizer.unk_token_id in upto[len(before) :]:
            raise UserError(f"{where}: the tokenizer does not know all of it; use letters it knows")
        if shifted and spans[name][0] == 0:
            raise UserError(f"{where}: shifted models predict no first token; put a word before it")
    return Layout(tuple(around), **spans, answer=spans[ENTITIES[direction][1]], fact=index)
