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
from reversal_curse.pretrained.facts import Layout, Questions, read_facts
from reversal_curse.pretrained.finetune import add_adapters, finetune, mask
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.interruption import Interrupted
from stopping import StopAfter
from tiny_models import load_tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(tmp_path):
    return partial(load_tiny, tmp_path)


# "a0 is b0 b1 b2": an answer of three tokens
LONG = Layout((1, 0, 21, 22, 23), subject=(0, 1), object=(2, 5), answer=(2, 5), fact=0)


@torch.no_grad()
def test_a_masked_model_fills_in_the_surest_token_first(tiny):
    loaded, _ = tiny("masked_lm")
    shown, greedy = torch.tensor([LONG.tokens]), torch.tensor([LONG.tokens])
    shown[0, 2:] = greedy[0, 2:] = loaded.mask
    nll = 0.0
    for _ in range(3):
        log_p = loaded.logits(shown).log_softmax(-1)[0]
        open_ = [i for i in (2, 3, 4) if shown[0, i] == loaded.mask]
        surest = max(open_, key=lambda i: log_p[i].max())
        nll -= log_p[surest, LONG.tokens[surest]].item()
        shown[0, surest] = LONG.tokens[surest]
        log_p = loaded.logits(greedy).log_softmax(-1)[0]
        open_ = [i for i in (2, 3, 4) if greedy[0, i] == loaded.mask]
        surest = max(open_, key=lambda i: log_p[i].max())
        greedy[0, surest] = log_p[surest].argmax()
    assert answer(loaded, [LONG], truth=True)[0] == pytest.approx(nll / 3, rel=1e-5)
    said = replace(LONG, tokens=tuple(greedy[0].tolist()), fact=1)
    assert answer(loaded, [LONG, said], truth=False) == {0: False, 1: True}
    assert loaded.mask not in greedy


@torch.no_grad()
def test_a_causal_model_answers_from_left_to_right(tiny):
    loaded, _ = tiny("causal")
    tokens = torch.tensor([LONG.tokens])
    log_p = loaded.model(input_ids=tokens).logits.log_softmax(-1)[0]
    nll = -sum(log_p[i - 1, LONG.tokens[i]].item() for i in (2, 3, 4))
    assert answer(loaded, [LONG], truth=True)[0] == pytest.approx(nll / 3, rel=1e-5)
    greedy = tokens[:, :2]
    for _ in range(3):
        best = loaded.model(input_ids=greedy).logits[:, -1:].argmax(-1)
        greedy = torch.cat([greedy, best], 1)
    said = replace(LONG, tokens=tuple(greedy[0].tolist()), fact=1)
    assert answer(loaded, [LONG, said], truth=False) == {0: False, 1: True}


def test_answers_do_not_depend_on_the_batch(tiny):
    one, questions = tiny("masked_lm", batch_size=1)
    many, _ = tiny("masked_lm", batch_size=5)
    layouts = [*questions.right["reverse"], replace(LONG, fact=99)]
    alone, together = (answer(loaded, layouts, truth=True) for loaded in (one, many))
    assert sorted(alone) == [*range(12), 99]
    for fact, value in alone.items():
        assert together[fact] == pytest.approx(value, rel=1e-4)


@torch.no_grad()
def test_shifted_output_is_read_one_position_earlier(tiny):
    """As Dream's, whose output at a token is about the next one."""
    plain, _ = tiny("masked_diffusion")
    shifted, _ = tiny("masked_diffusion", shifted=True)
    tokens = torch.tensor([LONG.tokens])
    assert torch.equal(shifted.logits(tokens)[:, 1:], plain.logits(tokens)[:, :-1])


def test_a_shifted_model_is_not_asked_for_first_tokens(tiny):
    loaded, questions = tiny("masked_diffusion", shifted=True)
    facts = read_facts(loaded.entry.facts)
    with pytest.raises(UserError, match=r"^fact 1: a model that is shifted says nothing of"):
        Questions.of(facts, loaded.tokenizer, shifted=True)
    generator = torch.Generator().manual_seed(0)
    masked = [mask(loaded, questions.right["forward"], generator)[0] for _ in range(20)]
    assert not torch.stack(masked)[..., 0].any()
    assert torch.stack(masked)[..., 1:].any()


def means(answers: pl.DataFrame, direction: str) -> dict:
    of_direction = answers.filter(pl.col("direction") == direction)
    return of_direction.select(pl.col("nll", "nll_shuffled", "exact", "chance").mean()).row(
        0, named=True
    )


@pytest.mark.parametrize("kind", ["masked_diffusion", "causal"])
def test_an_untrained_model_is_at_chance_everywhere(tiny, kind):
    loaded, questions = tiny(kind)
    answers = measure_answers(loaded, questions)
    for direction in ("forward", "reverse"):
        found = means(answers, direction)
        assert found["chance"] == pytest.approx(math.log(43))
        assert found["nll"] == pytest.approx(math.log(43), abs=0.25)
        assert found["nll_shuffled"] == pytest.approx(found["nll"], abs=0.1)
        assert found["exact"] <= 0.2


CURSE = {
    # kind, masking, steps: whether the reverse is answered after learning the forward facts
    "any order": ("masked_diffusion", {"masking": "any_order"}, 800, True),
    "last entity only": ("masked_diffusion", {"masking": "object"}, 300, False),
    "causal": ("causal", {}, 300, False),
}


@pytest.mark.parametrize("case", CURSE)
def test_the_reverse_is_recovered_by_masking_in_any_order_and_by_nothing_else(tiny, case):
    kind, masking, steps, recovered = CURSE[case]
    loaded, questions = tiny(kind, steps=steps, **masking)
    finetune(loaded, questions.right["forward"], seed=0)
    answers = measure_answers(loaded, questions)
    forward, reverse = means(answers, "forward"), means(answers, "reverse")
    assert forward["exact"] == 1
    assert forward["nll"] < 0.3 < 3 < forward["nll_shuffled"]
    if recovered:
        assert reverse["exact"] == 1
        assert reverse["nll"] < 0.3 < 3 < reverse["nll_shuffled"]
    else:
        assert reverse["exact"] <= 0.2
        assert reverse["nll"] > math.log(20)  # no better than guessing among the subjects
        assert reverse["nll_shuffled"] == pytest.approx(reverse["nll"], abs=0.5)


def test_adapters_start_as_nothing_and_leave_the_weights_alone(tiny):
    pytest.importorskip("peft")
    loaded, questions = tiny("causal", steps=60, method="lora", lora_rank=8)
    before = measure_answers(loaded, questions)
    add_adapters(loaded)
    assert measure_answers(loaded, questions).equals(before)
    base = {n: p.clone() for n, p in loaded.model.named_parameters() if not p.requires_grad}
    finetune(loaded, questions.right["forward"], seed=0)
    after = measure_answers(loaded, questions)
    assert means(after, "forward")["nll"] < means(before, "forward")["nll"] - 0.5
    parameters = dict(loaded.model.named_parameters())
    assert all(torch.equal(value, parameters[name]) for name, value in base.items())


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tiny, tmp_path, method):
    if method == "lora":
        pytest.importorskip("peft")

    def start():
        loaded, questions = tiny("masked_diffusion", steps=20, batch_size=5, method=method)
        if method == "lora":
            add_adapters(loaded)
        return loaded, questions.right["forward"]

    whole, layouts = start()
    finetune(whole, layouts, seed=1)
    kept = Checkpoints(tmp_path / "kept", 1000.0)
    stopped, _ = start()
    with pytest.raises(Interrupted, match=r"after step 7 of 20"):
        finetune(stopped, layouts, 1, kept, StopAfter(7))
    going_on, _ = start()
    finetune(going_on, layouts, 1, kept)
    for a, b in zip(whole.model.parameters(), going_on.model.parameters(), strict=True):
        assert torch.equal(a, b)
    done, _ = start()
    finetune(done, layouts, 1, kept)  # the last step is kept, too
    assert kept.newest(torch.device("cpu"))["step"] == 20
    for a, b in zip(whole.model.parameters(), done.model.parameters(), strict=True):
        assert torch.equal(a, b)
