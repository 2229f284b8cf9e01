"""The gpt family: GPT-2's numbers, its initialisation, and seeds as a batch."""

import math

import pytest
import torch
import transformers

from reversal_curse.config.settings import choices
from reversal_curse.models.positions import alibi_bias, apply_rotary, rotary_angles
from reversal_curse.models.random_streams import Masks, dropout_factors, seed_generators
from reversal_curse.models.transformer import Transformer
from small_runs import CPU, small_settings

from .hugging_face import hugging_face_twin

VOCABULARY, LENGTH = 22, 6


def build(settings, seeds=(0, 1, 2), causal=True) -> Transformer:
    generators = seed_generators(list(seeds), "init")
    return Transformer(settings, VOCABULARY, LENGTH, generators, causal)


def random_tokens() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(VOCABULARY, (3, 5, LENGTH), generator=generator)


@pytest.mark.parametrize("tie_head", [False, True])
def test_logits_equal_those_of_hugging_face_gpt2(tie_head):
    settings = small_settings(layers=3, heads=4, embed_dim=32, tie_head=tie_head)
    model = build(settings)
    with torch.no_grad():  # larger weights than at initialisation, so that every part matters
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    tokens = random_tokens()
    ours = model(tokens, LENGTH)
    for seed in range(3):
        theirs = hugging_face_twin(model, settings, seed)(tokens[seed]).logits
        assert ours[seed].std() > 0.5
        torch.testing.assert_close(ours[seed], theirs, atol=1e-4, rtol=0)


def test_initialisation_has_gpt2s_distribution():
    settings = small_settings(layers=4, heads=2, embed_dim=64)
    model = build(settings, seeds=range(8))
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=4, n_head=2)
    ).state_dict()
    block = model.blocks[1]
    pairs = {
        "transformer.wte.weight": model.wte,
        "transformer.h.1.attn.c_attn.weight": block.attention.qkv.weight,
        "transformer.h.1.attn.c_proj.weight": block.attention.proj.weight,
        "transformer.h.1.mlp.c_fc.weight": block.fc.weight,
        "transformer.h.1.mlp.c_proj.weight": block.proj.weight,
        "lm_head.weight": model.head,
    }
    for name, ours in pairs.items():
        std = 0.02 / math.sqrt(2 * 4) if "c_proj" in name else 0.02
        for weights in (ours, theirs[name]):
            standard_error = std / math.sqrt(weights.numel())
            assert abs(weights.mean().item()) < 5 * standard_error
            assert weights.std().item() == pytest.approx(std, abs=5 * standard_error)
    assert all((part.bias == 0).all() for part in (block.attention.qkv, block.fc, block.ln_1))
    assert (block.ln_1.weight == 1).all()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pos_encoding", choices("pos_encoding"))
def test_only_an_encoder_sees_later_tokens(pos_encoding, causal):
    model = build(small_settings(pos_encoding=pos_encoding), causal=causal)
    tokens = random_tokens()
    changed = tokens.clone()
    changed[:, :, 3:] = (changed[:, :, 3:] + 1) % VOCABULARY
    before, after = model(tokens, LENGTH), model(changed, LENGTH)
    assert torch.allclose(before[:, :, :3], after[:, :, :3], rtol=1e-5, atol=1e-6) == causal
    assert not torch.allclose(before[:, :, 3:], after[:, :, 3:])


def test_without_positions_the_order_of_the_context_is_lost_and_with_them_it_is_not():
    tokens = random_tokens()
    swapped = tokens[:, :, [1, 0, 2, 3, 4, 5]]
    for pos_encoding in choices("pos_encoding"):
        model = build(small_settings(layers=1, pos_encoding=pos_encoding))
        same = torch.allclose(model(tokens, 1), model(swapped, 1), atol=1e-6)
        assert same == (pos_encoding == "none")


def test_rotary_scores_depend_on_relative_position_only():
    """Su et al. 2021, "RoFormer", equation 16: <R_m q, R_n k> is a function of n - m."""
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 16, generator=generator)
    angles = rotary_angles(50, 16, CPU)

    def score(m: int, n: int) -> float:
        rotated = apply_rotary(query, angles[m : m + 1]), apply_rotary(key, angles[n : n + 1])
        return (rotated[0] @ rotated[1].T).item()

    for distance in (0, 1, 7):
        scores = [score(m, m + distance) for m in (0, 5, 40)]
        assert scores == pytest.approx([scores[0]] * 3, abs=1e-4)
    assert abs(score(0, 1) - score(0, 7)) > 1e-2
    assert score(0, 0) == pytest.approx((query @ key.T).item(), abs=1e-5)


def test_alibi_biases_are_the_published_ones():
    """Press et al. 2022, figure 3: for 8 heads the slopes are 1/2, 1/4, ..., 1/256."""
    bias = alibi_bias(4, 8, CPU)
    assert bias[0, 3].tolist() == [-1.5, -1.0, -0.5, 0.0]
    assert bias[7, 3, 0].item() == pytest.approx(-3 / 256)
    assert torch.equal(bias, bias.transpose(1, 2))


def test_dropout_keeps_the_mean_and_drops_at_its_rate():
    factors = dropout_factors(seed_generators([0], "dropout"), 200_000, 0.1)
    assert (factors == 0).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert factors.mean().item() == pytest.approx(1.0, abs=0.005)


def test_every_place_of_the_model_has_dropout_factors_of_its_own():
    model = build(small_settings())
    counter = Masks()
    model(random_tokens(), 1, counter)
    masks = Masks(torch.ones(3, counter.used))
    kept = model(random_tokens(), 1, masks)
    assert masks.used == counter.used
    torch.testing.assert_close(kept, model(random_tokens(), 1))
    for place in (0, counter.used // 2, counter.used - 1):
        factors = torch.ones(3, counter.used)
        factors[:, place:] = 0
        assert not torch.allclose(model(random_tokens(), 1, Masks(factors)), kept)
