"""Attention scores and gradients of pretrained models, and all measures of one by the command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from transformers.models.eurobert.modeling_eurobert import apply_rotary_pos_emb

from reversal_curse.cli import main
from reversal_curse.config.pretrained import MEASURED, PretrainedModel
from reversal_curse.pretrained.attention import measure_scores
from reversal_curse.pretrained.finetune import add_adapters, finetune
from reversal_curse.pretrained.gradients import measure_gradients, parameter_group
from reversal_curse.pretrained.model_folder import find_model
from reversal_curse.tables.files import read_table
from reversal_curse.tables.schemas import PRETRAINED_TABLES
from tiny_models import load_tiny, save_causal, save_masked, save_own_code, write_facts

pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(tmp_path):
    return partial(load_tiny, tmp_path)


@torch.no_grad()
def test_scores_are_those_of_the_models_own_weights_rotary_included(tiny):
    loaded, questions = tiny(save=lambda folder: save_masked(folder, layers=2, heads=2))
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
            of_fact = table.filter(pl.col("fact") == layout.fact, pl.col("layer") == 0)
            assert of_fact["head"].to_list() == [0, 1]
            assert of_fact[f"score_{direction}"].to_list() == pytest.approx(
                direct.tolist(), abs=1e-6
            )
            assert of_fact[f"displacement_{direction}"].to_list() == [2 * sign] * 2
            assert of - at == 2 * sign


def test_scores_of_a_model_with_its_own_code_are_read_too(tiny):
    loaded, questions = tiny(save=save_own_code, trust_remote_code=True)
    assert type(loaded.model).__name__ == "OwnModel"
    table = measure_scores(loaded, questions)
    assert table.height == 12 * 2
    assert table["score_forward"].is_finite().all()


@torch.no_grad()
def test_scores_of_shared_keys_are_those_of_their_groups(tiny):
    """Several heads may ask one key head, as in Llama and Dream."""

    def shared(folder):
        save_masked(folder, heads=4)
        config = json.loads((folder / "config.json").read_text()) | {"num_key_value_heads": 2}
        made = transformers.EuroBertForMaskedLM(transformers.EuroBertConfig(**config))
        made.save_pretrained(folder)
        return folder

    loaded, questions = tiny(save=shared)
    assert loaded.model.model.layers[0].self_attn.k_proj.out_features == 32
    table = measure_scores(loaded, questions)
    assert table["head"].n_unique() == 4
    assert table["score_forward"].is_finite().all()


def test_a_causal_model_has_no_scores(tiny):
    loaded, questions = tiny("causal", save_causal)
    assert measure_scores(loaded, questions).is_empty()


def test_a_model_whose_scores_cannot_be_read_is_said_to_be_so(tiny, capsys):
    loaded, questions = tiny()
    loaded.model.set_attn_implementation("eager")
    assert measure_scores(loaded, questions).is_empty()
    assert "tiny: attention scores cannot be read from this arch" in capsys.readouterr().out


def of_all(table: pl.DataFrame) -> dict:
    return table.row(by_predicate=pl.col("group") == "all", named=True)


def test_gradients_are_those_of_autograd(tiny):
    loaded, questions = tiny(steps=30)
    finetune(loaded, questions.right["forward"], seed=0)
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
    groups["model.embed_tokens.weight"] = "embeddings"
    groups["lm_head.weight"] = "head"
    table = measure_gradients(loaded, questions)
    assert set(table["group"]) == {"all", *groups.values()}
    nll, forward = gradient(questions.right["forward"])
    _, reverse = gradient(questions.right["reverse"])
    length = 0.01 * nll / dot(forward, forward, "all")
    chosen = [0, 2, 4, 7, 9]
    for row in table.iter_rows(named=True):
        group = row["group"]
        assert row["nll_forward"] == pytest.approx(nll, rel=1e-5)
        predicted = -length * dot(forward, reverse, group)
        assert row["predicted_change"] == pytest.approx(predicted, rel=1e-3, abs=1e-8)
        cosines = []
        for fact in chosen:
            _, a = gradient([questions.right["forward"][fact]])
            _, b = gradient([questions.right["reverse"][fact]])
            norm = (dot(a, a, group) * dot(b, b, group)) ** 0.5
            cosines.append(dot(a, b, group) / norm)
        assert row["cosine"] == pytest.approx(np.mean(cosines), rel=1e-3, abs=1e-5)


def test_a_forward_step_changes_the_reverse_loss_as_predicted_and_is_undone(tiny):
    loaded, questions = tiny(steps=50)
    finetune(loaded, questions.right["forward"], seed=0)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    table = measure_gradients(loaded, questions)
    whole = of_all(table)
    assert whole["predicted_change"] < 0
    assert whole["actual_change"] == pytest.approx(whole["predicted_change"], rel=0.1)
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


ALIGNED = {
    # kind, how it is saved, masking, steps: excess of the cosine over another fact's answer
    "any order": ("masked_diffusion", save_masked, {"masking": "any_order"}, 800, (0.3, 2)),
    "last entity only": ("masked_diffusion", save_masked, {"masking": "object"}, 300, (-1, 0.1)),
    "causal": ("causal", save_causal, {}, 300, (-0.1, 0.1)),
}


@pytest.mark.parametrize("case", ALIGNED)
def test_gradients_are_aligned_where_the_reverse_is_recovered(tiny, case):
    kind, save, masking, steps, (low, high) = ALIGNED[case]
    loaded, questions = tiny(kind, save, steps=steps, **masking)
    finetune(loaded, questions.right["forward"], seed=0)
    whole = of_all(measure_gradients(loaded, questions))
    assert low < whole["cosine"] - whole["cosine_control"] < high


def test_half_precision_cannot_hold_the_step(tiny):
    loaded, questions = tiny(dtype="bfloat16")
    whole = of_all(measure_gradients(loaded, questions))
    assert whole["actual_change"] is None
    assert whole["predicted_change"] < 0


def test_gradients_with_adapters_are_those_of_the_models_own_weights(tiny):
    pytest.importorskip("peft")
    loaded, questions = tiny(method="lora")
    alone = measure_gradients(loaded, questions)
    add_adapters(loaded)
    trained = {name for name, p in loaded.model.named_parameters() if p.requires_grad}
    with_them = measure_gradients(loaded, questions)
    assert with_them["group"].equals(alone["group"])
    for name in ("cosine", "predicted_change", "actual_change"):
        assert with_them[name].to_list() == pytest.approx(alone[name].to_list(), abs=1e-6)
    assert {n for n, p in loaded.model.named_parameters() if p.requires_grad} == trained


NAMES = {
    "model.layers.0.self_attn.q_proj.weight": "attention",
    "base_model.model.model.layers.0.self_attn.k_proj.base_layer.weight": "attention",
    "model.layers.0.self_attn.o_proj.weight": "values",
    "model.layers.0.mlp.gate_proj.weight": "mlp",
    "model.layers.0.input_layernorm.weight": "norms",
    "model.layers.0.self_attn.q_norm.weight": "norms",
    "model.transformer.blocks.3.q_proj.weight": "attention",
    "model.transformer.blocks.3.attn_out.weight": "values",
    "model.transformer.blocks.3.ff_out.weight": "mlp",
    "model.transformer.blocks.3.attn_norm.weight": "norms",
    "model.transformer.wte.weight": "embeddings",
    "bert.encoder.layer.0.attention.self.query.weight": "attention",
    "bert.encoder.layer.0.attention.self.value.bias": "values",
    "bert.encoder.layer.0.attention.output.dense.weight": "values",
    "bert.encoder.layer.0.output.dense.weight": "mlp",
    "bert.encoder.layer.0.attention.output.LayerNorm.weight": "norms",
    "bert.embeddings.position_embeddings.weight": "embeddings",
    "cls.predictions.bias": "head",
    "transformer.h.0.attn.c_attn.weight": "fused",
    "transformer.h.0.attn.c_proj.weight": "values",
    "transformer.h.0.mlp.c_proj.weight": "mlp",
    "transformer.h.0.ln_1.weight": "norms",
    "model.layers.0.attn.Wqkv.weight": "fused",
}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_grouped_by_the_names_of_the_architectures(name):
    assert parameter_group(name) == NAMES[name]


def probe(tmp_path, *more: str, **keys) -> list[str]:
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
    given = {"config": config, "model": "tiny", "results": tmp_path}
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    return ["probe-pretrained", *arguments, *more]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_command_writes_tables_and_a_record(tmp_path, method, capsys):
    if method == "lora":
        pytest.importorskip("peft")
    assert main(probe(tmp_path, steps=5, seeds=2, method=method)) == 0
    output = tmp_path / "pretrained/model=tiny"
    assert "tiny: after fine-tuning, seed 1: forward" in capsys.readouterr().out
    assert not list((tmp_path / "checkpoints").rglob("*.pt"))
    for name in MEASURED:
        table = read_table(output / f"{name}.parquet", PRETRAINED_TABLES[name].name)
        states = table.select("seed", "stage").unique().sort("stage", "seed").rows()
        assert states == [(0, "after"), (1, "after"), (0, "before")]
        assert set(table["model"]) == {"tiny"}
    answers = read_table(output / "answers.parquet", "pretrained_answers")
    after = [answers.filter(pl.col("stage") == "after", pl.col("seed") == s)["nll"] for s in (0, 1)]
    assert not after[0].equals(after[1])
    record = json.loads((output / "run.json").read_text())
    assert record["entry"]["name"] == "tiny"
    assert record["peak_memory"] > 10**6
    assert record["wall_seconds"] > 0
    entry = PretrainedModel(name="tiny", kind="masked_lm", path=str(tmp_path / "model"))
    assert record["parameters"] == find_model(entry).parameters
    assert set(record["seconds"]) >= {"measure before 0", "fine-tune 1", "measure after 1"}


def test_a_probe_that_is_stopped_goes_on_from_what_was_reached(tmp_path):
    arguments = probe(tmp_path, "--checkpoint-minutes", "0.01", steps=100_000, seeds=1)
    program = [sys.executable, "-m", "reversal_curse", *arguments]
    kept = tmp_path / "checkpoints"

    def run_until_kept(more_than: int) -> tuple[int, str]:
        with subprocess.Popen(program, text=True, stdout=-1, stderr=subprocess.STDOUT) as process:
            while process.poll() is None and newest(kept) <= more_than:
                time.sleep(0.05)
            process.terminate()
            output, _ = process.communicate()
        return process.returncode, output

    status, output = run_until_kept(0)
    assert status == 143
    assert "stopped by SIGTERM after step" in output.splitlines()[-1]
    reached = newest(kept)
    status, output = run_until_kept(reached)
    assert status == 143
    assert f"seed 0: going on after step {reached} of 100000" in output
    assert newest(kept) > reached
    assert not (tmp_path / "pretrained").exists()


def newest(kept) -> int:
    """The step of the newest state that was kept."""
    return max((int(path.name.split(".")[0]) for path in kept.rglob("[0-9]*.pt")), default=0)


def test_a_mistake_is_one_line_of_the_command(tmp_path, capsys):
    assert main(probe(tmp_path, path=str(tmp_path / "none"))) == 1
    assert capsys.readouterr().err == f"tiny: path {tmp_path}/none: no such folder\n"
    assert not (tmp_path / "pretrained").exists()
