"""Facts as tokens: a sentence, and where its subject and its object stand in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reversal_curse.errors import UserError
from reversal_curse.pretrained.facts import Fact

DIRECTIONS = ("forward", "reverse")
ANSWERS = {"forward": "object", "reverse": "subject"}
"""Which entity a direction asks for: the one at the end."""


@dataclass(frozen=True)
class Layout:
    """The tokens of one sentence; spans are (start, end)."""

    tokens: tuple[int, ...]
    subject: tuple[int, int]
    object: tuple[int, int]
    fact: int
    """Index of the fact, from 0."""
    direction: str

    @property
    def answer(self) -> tuple[int, int]:
        return getattr(self, ANSWERS[self.direction])


def lay_out(facts: list[Fact], tokenizer: Any, direction: str) -> list[Layout]:
    """The sentences of one direction; raises UserError where an entity is no run of tokens."""
    return [lay_out_one(index, fact, tokenizer, direction) for index, fact in enumerate(facts)]


def lay_out_one(index: int, fact: Fact, tokenizer: Any, direction: str) -> Layout:
    """One sentence. Token spans are found by tokenising ever longer beginnings of the sentence.

    A beginning must be tokenised as the sentence begins, else a token runs over the edge of an
    entity. The space before an entity belongs to it, as in most tokenizers.
    """
    text, places = fact.sentence(direction)
    whole = _ids(tokenizer, text)
    spans = {}
    for name, (start, end) in places.items():
        entity = text[start:end]
        where = f"fact {index + 1} ({entity!r} in {text!r})"
        first = len(_beginning(tokenizer, text[:start].rstrip(), whole, where))
        last = len(_beginning(tokenizer, text[:end], whole, where))
        if first == last:
            raise UserError(f"{where}: the tokenizer has no tokens for it; leave the fact out")
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in whole[first:last]:
            raise UserError(
                f"{where}: the tokenizer does not know all of it ({tokenizer.unk_token}): use "
                "names in letters that it knows"
            )
        spans[name] = (first, last)
    lead, tail = _special_tokens(tokenizer, text, whole)
    spans = {name: (a + len(lead), b + len(lead)) for name, (a, b) in spans.items()}
    return Layout((*lead, *whole, *tail), **spans, fact=index, direction=direction)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _beginning(tokenizer: Any, text: str, whole: list[int], where: str) -> list[int]:
    ids = _ids(tokenizer, text) if text else []
    if whole[: len(ids)] != ids:
        at = next(i for i, (a, b) in enumerate(zip(ids, [*whole, None], strict=False)) if a != b)
        token = tokenizer.convert_ids_to_tokens(whole[min(at, len(whole) - 1)])
        raise UserError(
            f"{where}: the tokenizer's token {token!r} runs over the edge of the entity; put a "
            "space before it and a space or a full stop after it, or leave the fact out"
        )
    return ids


def _special_tokens(
    tokenizer: Any, text: str, whole: list[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and after every sentence, as [CLS] and [SEP]."""
    ids = list(tokenizer(text)["input_ids"])
    lead = next((i for i in range(len(ids)) if ids[i : i + len(whole)] == whole), None)
    if lead is None:
        raise UserError(
            f"{text!r}: the tokenizer writes it in other tokens where it adds its special ones; "
            "such a tokenizer cannot be used"
        )
    return tuple(ids[:lead]), tuple(ids[lead + len(whole) :])
