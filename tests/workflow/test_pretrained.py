"""Pretrained models through the workflow: tiny ones, made on the spot."""

from __future__ import annotations

import json
import os
import re

import polars as pl
import pytest

from reversal_curse.config.figures import PRETRAINED_FIGURES
from reversal_curse.pretrained.model_folder import code_digest
from reversal_curse.tables.pretrained_summaries import head_correlations
from tiny_models import save_causal, save_masked, save_own_code, write_facts


@pytest.fixture
def models(workflow) -> list[dict]:
    """Entries of a masked and a causal model; the config that is written has them."""
    folder = workflow.directory / "checkpoints_of_others"
    folder.mkdir()
    common = {"facts": write_facts(folder), "steps": 2, "seeds": 1}
    entries = [
        {"name": "masked", "kind": "masked_lm", "path": str(save_masked(folder / "m")), **common},
        {"name": "causal", "kind": "causal", "path": str(save_causal(folder / "c")), **common},
    ]
    workflow.write_config(pretrained=entries)
    return entries


@pytest.fixture
def four(workflow) -> None:
    """Four models: learning in any order, the last entity only, left to right, and not at all."""
    folder = workflow.directory / "checkpoints_of_others"
    folder.mkdir()
    common = {"facts": write_facts(folder), "seeds": 2, "batch_size": 64, "learning_rate": 0.003}
    own = save_own_code(folder / "own")
    entries = [
        {"name": "any_order", "kind": "masked_diffusion", "steps": 800}
        | {"path": str(save_masked(folder / "a"))},
        {"name": "last_only", "kind": "masked_lm", "steps": 300, "masking": "object"}
        | {"path": str(save_masked(folder / "b"))},
        {"name": "causal", "kind": "causal", "steps": 300, "path": str(save_causal(folder / "c"))},
        {"name": "untrained", "kind": "masked_diffusion", "steps": 0, "path": str(own)}
        | {"trust_remote_code": True, "revision": code_digest(own)},
    ]
    workflow.write_config(pretrained=[entry | common for entry in entries])


def test_an_effect_is_seen_where_there_is_one_and_nowhere_else(workflow, four):
    figures = [f"results/figures/{name}.png" for name in PRETRAINED_FIGURES]
    workflow.snakemake(*figures, "results/claims.md")
    results = workflow.directory / "results"
    for figure in figures:
        assert (workflow.directory / figure).stat().st_size > 1000
    assert workflow.jobs(*figures) == {}
    last = pl.col("stage") == pl.when(pl.col("model") == "untrained").then(
        pl.lit("before")
    ).otherwise(pl.lit("after"))
    answers = pl.read_parquet(results / "pretrained/answers.parquet").filter(last)
    found = {
        (row["model"], row["direction"]): row
        for row in answers.group_by("model", "direction")
        .agg(pl.col("nll", "nll_shuffled", "exact", "chance").mean())
        .to_dicts()
    }
    for model in ("any_order", "last_only", "causal"):
        assert found[model, "forward"]["exact"] == 1
    assert found["any_order", "reverse"]["exact"] == 1
    for model in ("last_only", "causal", "untrained"):
        row = found[model, "reverse"]
        assert row["exact"] < 0.2
        assert row["nll_shuffled"] == pytest.approx(row["nll"], abs=0.5)
    for direction in ("forward", "reverse"):
        row = found["untrained", direction]
        assert row["nll"] == pytest.approx(row["chance"], abs=0.25)
    claims = pl.read_parquet(results / "claims.parquet")
    verdicts = dict(claims.select("id", "verdict").iter_rows())
    for claim in ("diffusion_reverses", "causal_does_not", "diffusion_ahead", "gradients_aligned"):
        assert verdicts[f"pretrained_{claim}"] == "supported"
    for claim in ("gradients_not_causal", "first_order"):
        assert verdicts[f"pretrained_{claim}"] == "supported"
    scores = pl.read_parquet(results / "pretrained/scores.parquet")
    assert set(scores["model"]) == {"any_order", "last_only", "untrained"}
    compared = head_correlations(scores).filter(model="any_order", stage="after")
    assert compared["correlation"].is_between(-1, 1).all()
    assert compared.height == 2  # one head, two seeds
    record = json.loads((results / "pretrained/model=untrained/run.json").read_text())
    assert record["architecture"] == "OwnModel"


def test_the_ledger_asks_for_pretrained_models_only_where_there_are_some(workflow, models):
    target = "results/claims.md"
    probed = {"probe_pretrained": 2, "gather_pretrained": 3}
    assert workflow.jobs(target).items() >= probed.items()
    workflow.write_config()
    assert "probe_pretrained" not in workflow.jobs(target)


def test_changed_facts_or_weights_probe_again_and_others_do_not(workflow, models):
    target = "results/pretrained/model=causal/answers.parquet"
    folder = workflow.directory / "checkpoints_of_others"
    workflow.snakemake(target)
    assert workflow.jobs(target) == {}
    write_facts(folder, count=5)
    assert workflow.jobs(target) == {"probe_pretrained": 1}
    write_facts(folder)
    assert workflow.jobs(target) == {}
    os.utime(folder / "c/model.safetensors", ns=(1, 1))
    assert workflow.jobs(target) == {"probe_pretrained": 1}


def test_what_cannot_be_loaded_is_one_line_in_the_log(workflow, models):
    folder = save_own_code(workflow.directory / "own")
    models[0] |= {"path": str(folder), "kind": "masked_diffusion"}
    workflow.write_config(pretrained=models)
    workflow.snakemake("results/pretrained/model=masked/answers.parquet", status=1)
    log = (workflow.directory / "results/logs/pretrained/masked.log").read_text()
    assert "its code comes with the checkpoint" in log
    assert log.count("\n") == 1
    assert not (folder / "was_run").exists()


def test_slurm_is_asked_for_the_gpus_and_the_memory_of_each_model(workflow, root, models):
    commit = {"revision": "0" * 40, "method": "lora"}
    models += [
        {"name": "large", "kind": "causal", "hub": "a/large", "billion_parameters": 8.0} | commit,
        {"name": "huge", "kind": "causal", "hub": "a/huge", "billion_parameters": 70.0, "gpus": 8}
        | commit,
    ]
    workflow.write_config(pretrained=models)
    profile = str(root / "profiles/slurm")
    output = workflow.snakemake("pretrained", "--dry-run", "--profile", profile)
    asked = re.findall(r"model (\w+) \(GPUs: (\d), memory: (\d+) MB\)", output)
    assert sorted(asked) == [
        ("causal", "1", "8001"),
        ("huge", "8", "708000"),
        ("large", "1", "88000"),
        ("masked", "1", "8001"),
    ]
