"""Losses: their values, and that each of them teaches the training sentences."""

import pytest
import torch

from reversal_curse.config.settings import choices
from reversal_curse.models.losses import LOSSES
from small_runs import small_settings, trained

LOGITS = torch.tensor([[[[2.0, 1.5, 0.0]], [[2.0, 0.5, 0.0]], [[0.0, 0.0, 0.0]]]])
ANSWERS = torch.tensor([[[0], [0], [2]]])


def test_every_loss_that_a_config_may_name_is_there():
    assert tuple(LOSSES) == choices("loss")


def test_the_hinge_loss_is_what_the_best_wrong_answer_lacks_to_the_margin():
    assert LOSSES["hinge"](LOGITS, ANSWERS).flatten().tolist() == [0.5, 0.0, 1.0]


def test_equal_wrong_answers_share_the_gradient_of_the_hinge_loss():
    logits = LOGITS.clone().requires_grad_()
    LOSSES["hinge"](logits, ANSWERS).sum().backward()
    assert logits.grad[0, :, 0].tolist() == [[-1.0, 1.0, 0.0], [0.0] * 3, [0.5, 0.5, -1.0]]


def test_the_brier_loss_of_a_guess_is_one_minus_one_in_m():
    assert LOSSES["brier"](LOGITS, ANSWERS)[0, 2].item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("family", "rate"), [("bilinear", 4.0), ("one_layer", 0.5)])
def test_training_sentences_are_learned_with_every_loss(family, rate, loss):
    settings = small_settings(
        family=family, loss=loss, learning_rate=rate, embed_dim=64, epochs=200, eval_every=200
    )
    last = trained(settings)["metrics"].filter(epoch=200, split="train")
    assert last["accuracy"].min() == last["accuracy_choice"].min() == 1.0
