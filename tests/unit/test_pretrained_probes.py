"""Attention scores and gradients of pretrained models, and the command that measures a model."""

from __future__ import annotations

import json
import shutil
import signal
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from transformers.models.eurobert.modeling_eurobert import apply_rotary_pos_emb

from reversal_curse.cli import main
from reversal_curse.config.pretrained import MEASURED
from reversal_curse.pretrained.attention import measure_scores
from reversal_curse.pretrained.finetune import add_adapters, finetune
from reversal_curse.pretrained.gradients import measure_gradients, parameter_group
from reversal_curse.tables.files import read_table
from reversal_curse.tables.schemas import PRETRAINED_TABLES
from reversal_curse.training.interruption import Interruption
from tiny_models import load_tiny, save_masked, save_own_code, write_facts

pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(tmp_path):
    return partial(load_tiny, tmp_path)


@torch.no_grad()
def test_scores_are_those_of_the_models_own_weights_rotary_included(tiny):
    two = {"heads": 2, "num_hidden_layers": 2, "num_key_value_heads": 2}
    loaded, questions = tiny(save=partial(save_masked, **two))
    table = measure_scores(loaded, questions)
    assert table.height == 12 * 2 * 2
    model = loaded.model.model
    block = model.layers[0]
    for direction, sign in (("forward", 1), ("reverse", -1)):
        for layout in questions.right[direction]:
            tokens = torch.tensor([layout.tokens])
            tokens[0, slice(*layout.subject)] = loaded.mask
            x = model.embed_tokens(tokens)
            cos, sin = model.rotary_emb(x, torch.arange(3)[None])
            x = block.input_layernorm(x)
            q, k = (
                projection(x).view(1, 3, 2, -1).transpose(1, 2)
                for projection in (block.self_attn.q_proj, block.self_attn.k_proj)
            )
            q, k = apply_rotary_pos_emb(q, k, cos, sin)
            at, of = layout.subject[0], layout.object[0]
            direct = (q[0, :, at] * k[0, :, of]).sum(-1) / q.shape[-1] ** 0.5
            rows = table.filter(fact=layout.fact, layer=0)
            assert rows["head"].to_list() == [0, 1]
            assert rows[f"score_{direction}"].to_list() == pytest.approx(direct.tolist(), abs=1e-6)
            assert rows[f"displacement_{direction}"].to_list() == [of - at] * 2 == [2 * sign] * 2


@pytest.mark.parametrize(
    ("save", "keys", "heads"),
    [
        (save_own_code, {"trust_remote_code": True}, 2),
        # Several heads may share a key head, as in Llama and Dream.
        (partial(save_masked, heads=4, num_key_value_heads=2), {}, 4),
    ],
)
def test_scores_of_own_code_and_of_shared_keys_are_read(tiny, save, keys, heads):
    table = measure_scores(*tiny(save=save, **keys))
    assert table.height == 12 * heads
    assert table["head"].n_unique() == heads
    assert table["score_forward"].is_finite().all()


def test_a_causal_model_has_no_scores(tiny):
    assert measure_scores(*tiny("causal")).is_empty()


def test_scores_that_cannot_be_read_are_reported(tiny, capsys):
    loaded, questions = tiny()
    loaded.model.set_attn_implementation("eager")
    assert measure_scores(loaded, questions).is_empty()
    assert "tiny: attention scores cannot be read from this arch" in capsys.readouterr().out


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A model that was fine-tuned a little, its questions, weights and `gradients` table."""
    loaded, questions = load_tiny(tmp_path_factory.mktemp("learned"), steps=50)
    finetune(loaded, questions.right["forward"], seed=0)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    return loaded, questions, before, measure_gradients(loaded, questions)


def test_gradients_equal_those_of_autograd(learned):
    loaded, questions, _, table = learned
    parameters = dict(loaded.model.named_parameters())

    def gradient(layouts) -> tuple[float, dict[str, torch.Tensor]]:
        losses = []
        for layout in layouts:
            tokens = torch.tensor([layout.tokens])
            shown = tokens.clone()
            shown[0, slice(*layout.subject)] = loaded.mask
            at = layout.subject[0]
            losses.append(-loaded.logits(shown).log_softmax(-1)[0, at, tokens[0, at]])
        value = torch.stack(losses).mean()
        found = torch.autograd.grad(value, parameters.values())
        return value.item(), dict(zip(parameters, found, strict=True))

    def dot(a, b, group):
        names = [n for n in parameters if group in ("all", groups[n])]
        return sum((a[n] * b[n]).sum().item() for n in names)

    groups = {name: parameter_group(name) for name in parameters}
    groups |= {"model.embed_tokens.weight": "embeddings", "lm_head.weight": "head"}
    assert set(table["group"]) == {"all", *groups.values()}
    asked, answered = questions.right["forward"], questions.right["reverse"]
    (nll, forward), (_, reverse) = gradient(asked), gradient(answered)
    length = 0.01 * nll / dot(forward, forward, "all")
    pairs = [(gradient([asked[i]])[1], gradient([answered[i]])[1]) for i in (0, 2, 4, 7, 9)]
    for row in table.iter_rows(named=True):
        group = row["group"]
        assert row["nll_forward"] == pytest.approx(nll, rel=1e-5)
        predicted = -length * dot(forward, reverse, group)
        assert row["predicted_change"] == pytest.approx(predicted, rel=1e-3, abs=1e-8)
        cosines = [
            dot(a, b, group) / (dot(a, a, group) * dot(b, b, group)) ** 0.5 for a, b in pairs
        ]
        assert row["cosine"] == pytest.approx(np.mean(cosines), rel=1e-3, abs=1e-5)


def test_a_forward_step_changes_the_reverse_loss_as_predicted_and_is_undone(learned):
    loaded, _, before, table = learned
    predicted, actual = table.filter(group="all").select("predicted_change", "actual_change").row(0)
    assert predicted < 0
    assert actual == pytest.approx(predicted, rel=0.1)
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


def test_half_precision_cannot_hold_the_step(tiny):
    table = measure_gradients(*tiny(dtype="bfloat16")).filter(group="all")
    assert table["actual_change"].to_list() == [None]
    assert table["predicted_change"].item() < 0


def test_gradients_with_adapters_are_taken_at_the_models_own_weights(tiny):
    loaded, questions = tiny(method="lora")
    alone = measure_gradients(loaded, questions)
    add_adapters(loaded)
    trained = [p.requires_grad for p in loaded.model.parameters()]
    with_them = measure_gradients(loaded, questions)
    assert with_them["group"].equals(alone["group"])
    for name in ("cosine", "predicted_change", "actual_change"):
        assert with_them[name].to_list() == pytest.approx(alone[name].to_list(), abs=1e-6)
    assert [p.requires_grad for p in loaded.model.parameters()] == trained


LAYER, LLADA = "model.layers.0", "model.transformer.blocks.3"
BERT, GPT = "bert.encoder.layer.0", "transformer.h.0"
NAMES = {
    "attention": f"{LAYER}.self_attn.q_proj.weight {LLADA}.q_proj.weight "
    f"base_model.model.{LAYER}.self_attn.k_proj.base_layer.weight {BERT}.attention.self.query.bias",
    "values": f"{LAYER}.self_attn.o_proj.weight {LLADA}.attn_out.weight {GPT}.attn.c_proj.weight "
    f"{BERT}.attention.self.value.bias {BERT}.attention.output.dense.base_layer.weight",
    "mlp": f"{LAYER}.mlp.gate_proj.weight {LLADA}.ff_out.weight {GPT}.mlp.c_proj.weight "
    f"{BERT}.output.dense.weight {BERT}.output.dense.base_layer.weight",
    "norms": f"{LAYER}.input_layernorm.weight {LAYER}.self_attn.q_norm.weight {GPT}.ln_1.weight "
    f"{LLADA}.attn_norm.weight {BERT}.attention.output.LayerNorm.weight",
    "embeddings": "model.transformer.wte.weight bert.embeddings.position_embeddings.weight",
    "head": "cls.predictions.bias",
    "fused": f"{GPT}.attn.c_attn.weight {LAYER}.attn.Wqkv.weight",
}


@pytest.mark.parametrize("group", NAMES)
def test_parameters_are_grouped_by_the_names_of_the_architectures(group):
    for name in NAMES[group].split():
        assert parameter_group(name) == group, name


def probe(tmp_path, **keys) -> list[str]:
    """The command that probes a tiny masked model, with its config written."""
    entry = {
        "name": "tiny",
        "kind": "masked_lm",
        "path": str(save_masked(tmp_path / "model")),
        "facts": write_facts(tmp_path),
        **keys,
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"sweeps": {"base": {}}, "pretrained": [entry]}))
    return f"probe-pretrained tiny --config {config} --results {tmp_path}".split()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_command_writes_tables_and_a_record_and_goes_on_if_it_was_stopped(
    tmp_path, monkeypatch, capsys, method
):
    arguments = probe(tmp_path, steps=20, seeds=2, method=method, bridge="names")
    output, reason = tmp_path / "pretrained/model=tiny", Interruption.reason
    assert main(arguments) == 0
    assert "tiny: after fine-tuning, seed 1: forward" in capsys.readouterr().out
    assert not list((tmp_path / "checkpoints").rglob("*.pt"))
    for name in MEASURED:
        table = read_table(output / f"{name}.parquet", PRETRAINED_TABLES[name].name)
        states = table.select("seed", "stage").unique().sort("stage", "seed").rows()
        assert states == [(0, "after"), (1, "after"), (0, "before")]
        assert table.select("model", "arm").unique().rows() == [("tiny", "names only")]
    answers = read_table(output / "answers.parquet", "pretrained_answers")
    after = [answers.filter(pl.col("stage") == "after", pl.col("seed") == s)["nll"] for s in (0, 1)]
    assert not after[0].equals(after[1])
    record = json.loads((output / "run.json").read_text())
    assert record["entry"]["name"] == "tiny"
    assert (record["arm"], record["sentences"]) == ("names only", 3 * 12)
    assert record["peak_memory"] > 10**6
    assert set(record["seconds"]) >= {"measure before 0", "fine-tune 1", "measure after 1"}
    whole = {path: path.read_bytes() for path in output.glob("*.parquet")}
    shutil.rmtree(output)
    asked = iter([False] * 26 + [True])

    def stop_in_the_second_seed(self) -> str | None:
        if next(asked):
            signal.raise_signal(signal.SIGTERM)
        return reason(self)

    monkeypatch.setattr(Interruption, "reason", stop_in_the_second_seed)
    assert main(arguments) == 143
    assert "stopped by SIGTERM after step 7 of 20; progress is saved" in capsys.readouterr().err
    assert not output.exists()
    monkeypatch.undo()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "seed 0: going on after step 20 of 20" in said, "the first seed is only measured again"
    assert "seed 1: going on after step 7 of 20" in said
    assert {path: path.read_bytes() for path in whole} == whole


def test_a_mistake_makes_the_command_print_one_line(tmp_path, capsys):
    assert main(probe(tmp_path, path=str(tmp_path / "none"))) == 1
    assert capsys.readouterr().err == f"tiny: path {tmp_path}/none: no such folder\n"
    assert not (tmp_path / "pretrained").exists()
