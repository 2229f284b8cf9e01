"""Facts for pretrained models: their table, and where their entities stand among the tokens."""

from __future__ import annotations

import polars as pl
import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from reversal_curse.config.errors import UserError
from reversal_curse.pretrained.facts import (
    ANSWERS,
    SHIPPED,
    Fact,
    facts_version,
    lay_out,
    read_facts,
)
from tiny_models import TEMPLATES, write_facts


def test_the_shipped_facts_are_200_in_several_relations_with_a_word_before_every_entity():
    facts = read_facts(None)
    assert len(facts) == 200
    assert len({fact.relation for fact in facts}) >= 5
    assert len({name for fact in facts for name in (fact.subject, fact.object)}) == 400
    for fact in facts:
        for direction in ANSWERS:
            text, places = fact.sentence(direction)
            for name, (start, end) in places.items():
                assert text[start:end] == getattr(fact, name)
                assert text[start - 1] == " "
                assert start > 1


def test_the_answer_comes_last():
    fact = read_facts(None)[0]
    text, places = fact.sentence("forward")
    assert text[places["object"][1] :] == "."
    text, places = fact.sentence("reverse")
    assert text[places["subject"][1] :] == "."


def test_a_table_of_the_users_own_is_read_from_csv_and_parquet(tmp_path):
    rows = pl.DataFrame([{"subject": f"S{i}", "object": f"O{i}", **TEMPLATES} for i in range(3)])
    rows = rows.with_columns(source=pl.lit("a column of their own"))
    rows.write_parquet(tmp_path / "mine.parquet")
    rows.write_csv(tmp_path / "mine.csv")
    from_parquet = read_facts(str(tmp_path / "mine.parquet"))
    assert from_parquet == read_facts(str(tmp_path / "mine.csv"))
    assert from_parquet[2] == Fact("S2", "O2", **TEMPLATES, relation=0)


def test_the_version_of_facts_changes_with_the_file(tmp_path):
    first = facts_version(write_facts(tmp_path))
    assert first != facts_version(write_facts(tmp_path, count=5))
    assert facts_version(None) == facts_version(str(SHIPPED))
    assert facts_version(str(tmp_path / "none.csv")) == "missing"


MISTAKES = {
    "slot missing": (
        {"forward": "{subject} is"},
        "fact 1: forward: '{subject} is' must have the slots",
    ),
    "slot twice": (
        {"reverse": "{object} {object} {subject}"},
        "must have the slots {subject} and {object} once each",
    ),
    "forward answer first": (
        {"forward": "{object} was made by {subject}"},
        "forward: '{object} was made by {subject}' must have the slots {subject} and {object} once "
        "each, and end with {object}",
    ),
    "reverse answer first": ({"reverse": "{subject} of {object}"}, "end with {subject}"),
    "empty entity": ({"subject": ""}, "fact 1: subject is empty"),
    "spaces around": ({"object": " x"}, "object is empty or has spaces around it"),
    "same question": ({"subject": "x"}, "fact 2: 'x' is asked for in fact 1 too"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_the_table_is_one_line(tmp_path, case):
    changed, message = MISTAKES[case]
    path = write_facts(tmp_path, **changed)
    with pytest.raises(UserError) as error:
        read_facts(path)
    assert message in str(error.value)
    assert str(error.value).startswith(path)


def test_a_file_that_is_no_table_of_facts_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none.csv: facts cannot be read: .*No such file"):
        read_facts(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match=r"must be a .csv or .parquet"):
        read_facts(str(tmp_path / "facts.txt"))
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(UserError, match=r"bad.parquet: facts cannot be read"):
        read_facts(str(tmp_path / "bad.parquet"))
    (tmp_path / "short.csv").write_text("subject,object,forward\na,b,c\n")
    with pytest.raises(UserError, match=r"column reverse is missing; facts have subject, object"):
        read_facts(str(tmp_path / "short.csv"))
    with pytest.raises(UserError, match=r"1 facts; at least two"):
        read_facts(write_facts(tmp_path, count=1))


def trained_tokenizer(kind: str) -> transformers.PreTrainedTokenizerFast:
    """A small subword tokenizer, trained on the shipped facts."""
    facts = read_facts(None)
    sentences = [fact.sentence(direction)[0] for fact in facts for direction in ANSWERS]
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if kind == "wordpiece":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special)
    else:
        made = Tokenizer(models.BPE(unk_token="[UNK]"))
        made.pre_tokenizer = {
            "bytes": pre_tokenizers.ByteLevel(add_prefix_space=False),
            "metaspace": pre_tokenizers.Sequence(
                [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
            ),
        }[kind]
        trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special)
    made.train_from_iterator(sentences, trainer)
    if kind != "bytes":
        ends = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.mark.parametrize("kind", ["wordpiece", "bytes", "metaspace"])
def test_spans_are_the_tokens_of_the_entities(kind):
    tokenizer, facts = trained_tokenizer(kind), read_facts(None)
    lengths = set()
    for direction in ANSWERS:
        for index, fact in enumerate(facts):
            layout = lay_out(index, fact, tokenizer, direction)
            text, _ = fact.sentence(direction)
            assert list(layout.tokens) == tokenizer(text)["input_ids"]
            for name in ("subject", "object"):
                start, end = getattr(layout, name)
                pieces = tokenizer.convert_ids_to_tokens(list(layout.tokens[start:end]))
                joined = "".join(piece.removeprefix("##") for piece in pieces)
                bare = joined.replace("Ġ", "").replace("▁", "")
                assert bare == getattr(fact, name).replace(" ", "")
                lengths.add(end - start)
            assert layout.answer == (layout.object if direction == "forward" else layout.subject)
    assert len(lengths) > 3  # of one token to several


def test_an_entity_that_the_tokenizer_merges_with_its_surroundings_is_one_line():
    made = Tokenizer(models.WordLevel({"a": 0, "is": 1, "b": 2, "b!": 3, "?": 4}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="?")
    glued = Fact("a", "b", "{subject} is {object}!", "{object} is {subject}", 0)
    with pytest.raises(UserError, match=r"fact 1 \('b' in 'a is b!'\): the tokenizer's token 'b!'"):
        lay_out(0, glued, tokenizer, "forward")
    unknown = Fact("a", "zzz", "{subject} is {object}", "{object} is {subject}", 0)
    with pytest.raises(UserError, match=r"'zzz' in 'a is zzz'\): the tokenizer does not know"):
        lay_out(0, unknown, tokenizer, "forward")
