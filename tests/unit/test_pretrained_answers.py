"""Answers of pretrained models: decoding, chance, and what fine-tuning forward facts teaches."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import polars as pl
import pytest
import torch

from reversal_curse.config.errors import UserError
from reversal_curse.pretrained.answers import answer, measure_answers
from reversal_curse.pretrained.facts import Layout, Questions, lay_out, read_facts
from reversal_curse.pretrained.finetune import add_adapters, finetune, mask
from reversal_curse.pretrained.gradients import measure_gradients
from reversal_curse.pretrained.remedies import training_sentences
from tiny_models import TEMPLATES, load_tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(tmp_path):
    return partial(load_tiny, tmp_path)


# "a0 is b0 b1 b2": an answer of three tokens
LONG = Layout((1, 0, 21, 22, 23), subject=(0, 1), object=(2, 5), answer=(2, 5), fact=0)


def check_answers(loaded, nll: float, greedy: torch.Tensor) -> None:
    """Compare the loss of LONG, and greedy decoding, with what was computed step by step."""
    assert answer(loaded, [LONG], truth=True)[LONG] == pytest.approx(nll, rel=1e-5)
    written = replace(LONG, tokens=tuple(greedy[0].tolist()))
    assert answer(loaded, [LONG, written], truth=False) == {LONG: False, written: True}


@torch.no_grad()
def test_a_masked_model_fills_in_the_surest_token_first(tiny):
    loaded, _ = tiny("masked_lm")

    def fill_in(truth: bool) -> tuple[torch.Tensor, float]:
        tokens, nll = torch.tensor([LONG.tokens]), 0.0
        tokens[0, 2:] = loaded.mask
        for _ in range(3):
            log_p = loaded.logits(tokens).log_softmax(-1)[0]
            hidden = [i for i in (2, 3, 4) if tokens[0, i] == loaded.mask]
            surest = max(hidden, key=lambda i: log_p[i].max())
            tokens[0, surest] = LONG.tokens[surest] if truth else log_p[surest].argmax()
            nll -= log_p[surest, tokens[0, surest]].item()
        return tokens, nll

    greedy, _ = fill_in(truth=False)
    check_answers(loaded, fill_in(truth=True)[1], greedy)
    assert loaded.mask not in greedy


@torch.no_grad()
def test_a_causal_model_answers_from_left_to_right(tiny):
    loaded, _ = tiny("causal")
    tokens = torch.tensor([LONG.tokens])
    log_p = loaded.model(input_ids=tokens).logits.log_softmax(-1)[0]
    greedy = tokens[:, :2]
    for _ in range(3):
        best = loaded.model(input_ids=greedy).logits[:, -1:].argmax(-1)
        greedy = torch.cat([greedy, best], 1)
    check_answers(loaded, -sum(log_p[i - 1, LONG.tokens[i]].item() for i in (2, 3, 4)), greedy)


def test_answers_do_not_depend_on_the_batch(tiny):
    one, questions = tiny("masked_lm", batch_size=1)
    many, _ = tiny("masked_lm", batch_size=5)
    layouts = [*questions.right["reverse"], LONG]
    alone, together = (answer(loaded, layouts, truth=True) for loaded in (one, many))
    assert len(alone) == 13
    assert together == pytest.approx(alone, rel=1e-4)


@torch.no_grad()
def test_a_shifted_model_is_read_one_position_earlier_and_not_asked_for_first_tokens(tiny):
    """Dream is one: its output at a token predicts the next token."""
    (plain, _), (loaded, questions) = tiny(), tiny(shifted=True)
    tokens = torch.tensor([LONG.tokens])
    assert torch.equal(loaded.logits(tokens)[:, 1:], plain.logits(tokens)[:, :-1])
    facts = read_facts(loaded.entry.facts)
    with pytest.raises(UserError, match=r"^fact 1 \('a0' in 'a0 is b0'\): shifted models pre"):
        Questions.of(facts, loaded.tokenizer, shifted=True)
    generator = torch.Generator().manual_seed(0)
    masked = [mask(loaded, questions.right["forward"], generator)[0] for _ in range(20)]
    assert not torch.stack(masked)[..., 0].any()
    assert torch.stack(masked)[..., 1:].any()


@pytest.mark.parametrize("kind", ["masked_diffusion", "causal"])
def test_the_loss_of_an_answer_is_that_of_the_set_and_of_the_choice_in_it(tiny, tmp_path, kind):
    objects = ["b0", "b1 b2", "b3 b4 b5", "b6"]
    rows = [{"subject": f"a{i}", "object": name, **TEMPLATES} for i, name in enumerate(objects)]
    rows[3] |= {"forward": "{subject} is is {object}"}  # the only fact of its relation
    pl.DataFrame(rows).write_csv(tmp_path / "lengths.csv")
    loaded, questions = tiny(kind, facts=str(tmp_path / "lengths.csv"))
    *alike, alone = measure_answers(loaded, questions).filter(direction="forward").to_dicts()
    for index, row in enumerate(alike):
        fact = questions.facts[index]
        asked = [replace(fact, object=name) for name in objects[:3]]
        layouts = [lay_out(index, one, loaded.tokenizer, "forward") for one in asked]
        nll = answer(loaded, layouts, truth=True)
        p = [math.exp(-nll[layout]) for layout in layouts]
        assert row["tokens"] * row["nll"] == pytest.approx(row["nll_set"] + row["nll_choice"])
        assert row["nll_choice"] == pytest.approx(-math.log(p[index] / sum(p)), rel=1e-4)
        assert row["accuracy_choice"] == (p[index] == max(p))
        assert row["rank_choice"] == sum(one < p[index] for one in p) / 2
        assert row["candidates"] == 3
    assert (alone["candidates"], alone["accuracy_choice"], alone["nll_choice"]) == (1, 1, 0)
    assert alone["rank_choice"] is alone["nll_shuffled"] is None


def test_a_model_that_repeats_the_entity_asked_about_echoes(tiny):
    loaded, questions = tiny("causal", steps=50, learning_rate=0.01)
    finetune(loaded, [layout.echoed() for layout in questions.right["forward"]], seed=0)
    found = measure_answers(loaded, questions).filter(direction="forward")
    assert found["echo"].all()
    assert not found["exact"].any()


def means(loaded, questions) -> dict[str, dict]:
    columns = pl.exclude("direction").mean()
    found = measure_answers(loaded, questions).group_by("direction").agg(columns)
    return {row["direction"]: row for row in found.to_dicts()}


@pytest.mark.parametrize("kind", ["masked_diffusion", "causal"])
def test_an_untrained_model_is_at_chance_everywhere(tiny, kind):
    for found in means(*tiny(kind)).values():
        assert found["chance"] == pytest.approx(math.log(43))
        assert found["nll"] == pytest.approx(math.log(43), abs=0.25)
        assert found["nll_shuffled"] == pytest.approx(found["nll"], abs=0.1)
        assert found["exact"] <= 0.2
        assert found["accuracy_choice"] <= 0.25
        assert found["rank_choice"] == pytest.approx(0.5, abs=0.2)
        assert found["chance_accuracy"] == pytest.approx(1 / 12)
        assert found["chance_choice"] == pytest.approx(math.log(12))


FAST = {"steps": 50, "learning_rate": 0.01}
CURSE = {
    # kind, settings: whether the reverse is answered once the forward facts are learned, and by how
    # much the cosine of the gradients exceeds that with another fact's answer
    "any order": ("masked_diffusion", {"steps": 500}, True, (0.3, 2)),
    "last entity": ("masked_diffusion", {**FAST, "masking": "object"}, False, (-1, 0.1)),
    "causal": ("causal", FAST, False, (-0.1, 0.1)),
}


@pytest.mark.parametrize("case", CURSE)
def test_only_masking_in_any_order_aligns_gradients_and_recovers_the_reverse(tiny, case):
    kind, keys, recovered, (low, high) = CURSE[case]
    loaded, questions = tiny(kind, **keys)
    finetune(loaded, questions.right["forward"], seed=0)
    found = means(loaded, questions)
    for direction in ("forward", "reverse") if recovered else ("forward",):
        assert found[direction]["exact"] == found[direction]["accuracy_choice"] == 1
        assert found[direction]["nll"] < 0.3 < 3 < found[direction]["nll_shuffled"]
    reverse = found["reverse"]
    if not recovered:
        assert reverse["exact"] <= 0.2
        assert reverse["rank_choice"] == pytest.approx(0.5, abs=0.2)
        assert reverse["nll"] > math.log(20)  # no better than guessing among the subjects
        assert reverse["nll_shuffled"] == pytest.approx(reverse["nll"], abs=0.5)
    whole = measure_gradients(loaded, questions).filter(group="all").row(0, named=True)
    assert low < whole["cosine"] - whole["cosine_control"] < high


REMEDIES = {
    # of the reverse questions: answers that are said, that are known, that repeat the question
    "naive identities": ({"bridge": "names"}, (0, 0, 0)),
    "identity bridge": ({"bridge": "full", "forward_copies": 6}, (0, 1, 1)),
    "reverse training": ({"reversal": "entity"}, (1, 1, 0)),
}


@pytest.mark.parametrize("case", REMEDIES)
def test_a_remedy_teaches_a_causal_model_the_reverse(tiny, case):
    """The identity bridge with positions: it knows the answer, and says the entity asked about."""
    keys, expected = REMEDIES[case]
    loaded, questions = tiny("causal", steps=150, learning_rate=0.01, **keys)
    finetune(loaded, training_sentences(loaded.entry, questions, loaded.tokenizer), seed=0)
    found = means(loaded, questions)
    assert found["forward"]["exact"] == 1
    reverse = [found["reverse"][name] for name in ("exact", "accuracy_choice", "echo")]
    assert reverse == pytest.approx(expected, abs=0.2)


def test_adapters_start_as_zero_and_leave_the_weights_alone(tiny):
    loaded, questions = tiny("causal", steps=60, method="lora", lora_rank=8)
    before = means(loaded, questions)
    add_adapters(loaded)
    assert means(loaded, questions) == before
    base = {n: p.clone() for n, p in loaded.model.named_parameters() if not p.requires_grad}
    finetune(loaded, questions.right["forward"], seed=0)
    assert means(loaded, questions)["forward"]["nll"] < before["forward"]["nll"] - 0.5
    parameters = dict(loaded.model.named_parameters())
    assert all(torch.equal(value, parameters[name]) for name, value in base.items())
