"""Facts for pretrained models: their table, and where their entities are among the tokens."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import polars as pl
import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from reversal_curse.config.errors import UserError
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained import facts as facts_module
from reversal_curse.pretrained.facts import (
    CANDIDATES,
    ENTITIES,
    Fact,
    Questions,
    facts_version,
    lay_out,
    read_facts,
)
from reversal_curse.pretrained.remedies import training_sentences
from tiny_models import TEMPLATES, write_facts


def test_the_shipped_facts_are_200_in_several_relations_with_a_word_before_every_entity():
    facts = read_facts(None)
    assert len(facts) == 200
    assert len({fact.relation for fact in facts}) >= 5
    assert len({name for fact in facts for name in (fact.subject, fact.object)}) == 400
    for fact in facts:
        for direction, (_, answer) in ENTITIES.items():
            text, spans = fact.sentence(direction)
            assert text[spans[answer][1] :] == "."
            for name, (start, end) in spans.items():
                assert text[start:end] == getattr(fact, name)
                assert text[start - 1] == " "
                assert start > 1


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
    assert facts_version(None) == facts_version(str(facts_module.SHIPPED))
    assert facts_version(str(tmp_path / "none.csv")) == "missing"


ONCE = "must have {subject} and {object} once each and end with the latter, got"
MISTAKES = {
    "slot missing": ({"forward": "{subject} is"}, f"fact 1: forward {ONCE} '{{subject}} is'"),
    "slot twice": ({"reverse": "{object} {object} {subject}"}, "{subject} once each and end"),
    "forward answer first": ({"forward": "{object} was made by {subject}"}, f"forward {ONCE}"),
    "reverse answer first": ({"reverse": "{subject} of {object}"}, "{object} and {subject} once"),
    "word after the answer": ({"forward": "{subject} is {object} now"}, f"forward {ONCE}"),
    "empty entity": ({"subject": ""}, "fact 1: subject is empty"),
    "spaces around": ({"object": " x"}, "object is empty, has spaces around it, or is longer"),
    "a long name": ({"object": "x" * 1001}, "object is empty, has spaces around it, or is longer"),
    "same question": ({"subject": "x"}, "fact 2: asks the same about 'x' as fact 1"),
    "one fact": ({"count": 1}, "must have from 2 to 10,000 facts, got 1"),
    "many facts": ({"count": 10_001}, "must have from 2 to 10,000 facts, got more"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_the_table_is_refused_with_its_path(tmp_path, case):
    changed, message = MISTAKES[case]
    path = write_facts(tmp_path, **changed)
    with pytest.raises(UserError) as error:
        read_facts(path)
    assert message in str(error.value)
    assert str(error.value).startswith(path)


FILES = {
    "none.csv": (None, "cannot be read: .*No such file"),
    "facts.txt": ("", "facts must be a .csv or .parquet"),
    "bad.parquet": ("not a table", "facts cannot be read"),
    "short.csv": ("subject,object,forward\na,b,c\n", "column reverse is missing; facts have subj"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_a_table_of_facts_is_refused(tmp_path, name):
    content, message = FILES[name]
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=f"{name}: {message}"):
        read_facts(str(tmp_path / name))


METASPACE = [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
SUBWORDS = {
    "wordpiece": (models.WordPiece, trainers.WordPieceTrainer, pre_tokenizers.BertPreTokenizer()),
    "bytes": (models.BPE, trainers.BpeTrainer, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "metaspace": (models.BPE, trainers.BpeTrainer, pre_tokenizers.Sequence(METASPACE)),
}


def trained_tokenizer(kind: str) -> transformers.PreTrainedTokenizerFast:
    """Train a small subword tokenizer on the shipped facts."""
    model, trainer, splitter = SUBWORDS[kind]
    sentences = [fact.sentence(way)[0] for fact in read_facts(None) for way in ENTITIES]
    made = Tokenizer(model(unk_token="[UNK]"))
    made.pre_tokenizer = splitter
    special = ["[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(sentences, trainer(vocab_size=500, special_tokens=special))
    if kind != "bytes":
        ends = [(token, made.token_to_id(token)) for token in special[1:]]
        made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.mark.parametrize("kind", SUBWORDS)
def test_spans_are_the_tokens_of_the_entities(kind):
    tokenizer, facts = trained_tokenizer(kind), read_facts(None)
    lengths = set()
    for direction in ENTITIES:
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
    assert len(lengths) > 3  # from one token to several


@pytest.mark.parametrize("kind", SUBWORDS)
def test_candidates_have_the_tokens_of_their_sentences(kind):
    tokenizer, facts = trained_tokenizer(kind), read_facts(None)
    questions = Questions.of(facts, tokenizer)
    for (direction, (_, answer)), index in product(ENTITIES.items(), (0, 49, 199)):
        alike = [fact for fact in facts if fact.relation == facts[index].relation]
        swapped = [replace(facts[index], **{answer: getattr(one, answer)}) for one in alike]
        expected = [lay_out(index, one, tokenizer, direction) for one in swapped]
        right, *others = questions.candidates[direction][index]
        assert right == questions.right[direction][index]
        assert questions.wrong[direction][index] == expected[(index + 1) % 25]
        assert {right, *others} == {*expected}
        assert len(others) == 24


def test_of_many_answers_some_are_drawn_so_that_a_sorted_table_does_not_tilt_the_choice():
    names = [f"{kind}{i}" for kind in "ab" for i in range(80)]
    facts = [Fact(f"a{i}", f"b{i}", **TEMPLATES, relation=0) for i in range(80)]
    questions = Questions.of(facts, word_tokenizer("is", *names))
    assert questions == Questions.of(facts, word_tokenizer("is", *names))
    ranks = []
    for right, *others in questions.candidates["forward"]:
        assert len({right, *others}) == CANDIDATES
        ranks.append(sum(one.tokens < right.tokens for one in others) / len(others))
    assert sum(ranks) / len(ranks) == pytest.approx(0.5, abs=0.03)


def word_tokenizer(*words: str) -> transformers.PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(("?", *words))}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="?")


MAKER = "the maker {subject} made the thing {object} ."
MADE_BY = "the thing {object} was made by the maker {subject} ."
NAMED = [f"The name of {name} is {name} ." for name in ("A a", "B")]
COMPOSED = "the maker A a made the thing was made by the maker A a ."
ADDED = {
    # what an entry is fine-tuned on besides the forward statements
    "none": ({}, []),
    "subjects": ({"bridge": "subjects"}, NAMED[:1]),
    "objects": ({"bridge": "objects"}, NAMED[1:]),
    "names only": ({"bridge": "names"}, NAMED),
    "r' of r of A is A": ({"bridge": "composed"}, [COMPOSED]),
    "identity bridge, 6 copies of a fact": (
        {"bridge": "full", "forward_copies": 6},
        [NAMED[1], COMPOSED],
    ),
    "reversed by entity": ({"reversal": "entity"}, [". B thing the made A a maker the"]),
}


@pytest.mark.parametrize("case", ADDED)
def test_a_remedy_adds_sentences_made_from_the_templates(case):
    keys, expected = ADDED[case]
    entry = PretrainedModel(name="a", kind="causal", path="x", **keys)
    words = f"The name of is was by {MAKER} A a B C c D".split()
    tokenizer = word_tokenizer(*dict.fromkeys(words))
    facts = [Fact("A a", "B", MAKER, MADE_BY, 0), Fact("C c", "D", MAKER, MADE_BY, 0)]
    layouts = training_sentences(entry, Questions.of(facts, tokenizer), tokenizer)
    own = [one for one in layouts if one.fact == 0]
    assert len(layouts) == 2 * len(own)
    sentences = [tokenizer.decode(one.tokens) for one in own]
    forward = ["the maker A a made the thing B ."] * entry.forward_copies
    assert sentences == forward + expected
    for one in own:
        spans = [tokenizer.decode(one.tokens[slice(*span)]) for span in (one.subject, one.object)]
        assert {*spans} <= {"A a", "B"}
        assert one.subject < one.object == one.answer


ENTITY = {
    "merged": ("b", "!", r"^fact 1 \('b' in 'a is b!'\): the tokenizer's token 'b!' crosses"),
    "unknown": ("zzz", "", r"^fact 1 \('zzz' in 'a is zzz'\): the tokenizer does not know all"),
}


@pytest.mark.parametrize("case", ENTITY)
def test_an_entity_that_is_not_made_of_known_tokens_is_refused(case):
    answer, end, message = ENTITY[case]
    fact = Fact("a", answer, f"{{subject}} is {{object}}{end}", TEMPLATES["reverse"], 0)
    with pytest.raises(UserError, match=message):
        lay_out(0, fact, word_tokenizer("a", "is", "b", "b!"), "forward")


def test_a_tokenizer_whose_special_tokens_change_the_others_is_refused():
    def tokenizer(text: str, add_special_tokens: bool = True) -> dict:
        return {"input_ids": [0, 9] if add_special_tokens else [1]}

    with pytest.raises(UserError, match="special tokens change the others"):
        lay_out(0, Fact("a", "b", **TEMPLATES, relation=0), tokenizer, "forward")
