"""The workflow on tiny pretrained models, made on the spot."""

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
def folder(workflow):
    folder = workflow.directory / "checkpoints_of_others"
    folder.mkdir()
    return folder


@pytest.fixture
def models(workflow, folder) -> list[dict]:
    """Entries of a masked and a causal model, which the config has too."""
    common = {"facts": write_facts(folder), "steps": 2, "seeds": 1}
    entries = [
        {"name": "masked", "kind": "masked_lm", "path": str(save_masked(folder / "m")), **common},
        {"name": "causal", "kind": "causal", "path": str(save_causal(folder / "c")), **common},
    ]
    workflow.write_config(pretrained=entries)
    return entries


def test_effects_are_found_in_the_models_that_have_them_and_in_no_others(workflow, folder):
    """Three models learn in any order, from left to right, and not at all."""
    common = {"facts": write_facts(folder), "seeds": 5, "batch_size": 64, "learning_rate": 0.003}
    diffusion, own = {"kind": "masked_diffusion"}, save_own_code(folder / "own")
    causal = {"kind": "causal", "steps": 50, "learning_rate": 0.01}
    trust = {"trust_remote_code": True, "revision": code_digest(own)}
    entries = [
        {"name": "any_order", "steps": 500, "path": str(save_masked(folder / "a")), **diffusion},
        {"name": "causal", "path": str(save_causal(folder / "c")), **causal},
        {"name": "untrained", "steps": 0, "path": str(own), **diffusion, **trust},
    ]
    workflow.write_config(pretrained=[common | entry for entry in entries])
    figures = [f"results/figures/{name}.png" for name in PRETRAINED_FIGURES]
    workflow.snakemake(*figures, "results/claims.md")
    for figure in figures:
        assert (workflow.directory / figure).stat().st_size > 1000
    assert workflow.jobs(*figures) == {}
    results = workflow.directory / "results"
    verdicts = dict(pl.read_parquet(results / "claims.parquet").select("id", "verdict").iter_rows())
    for claim in (
        *("diffusion_reverses", "causal_does_not", "diffusion_ahead"),
        *("gradients_aligned", "gradients_not_causal", "first_order"),
    ):
        assert verdicts[f"pretrained_{claim}"] == "supported"
    scores = pl.read_parquet(results / "pretrained/scores.parquet")
    assert set(scores["model"]) == {"any_order", "untrained"}
    compared = head_correlations(scores).filter(model="any_order", stage="after")
    assert compared["correlation"].is_between(-1, 1).all()
    assert compared.height == 5  # one head, five seeds
    record = json.loads((results / "pretrained/model=untrained/run.json").read_text())
    assert record["architecture"] == "OwnModel"


def test_the_ledger_asks_for_pretrained_models_only_if_there_are_some(workflow, models):
    target = "results/claims.md"
    probed = {"probe_pretrained": 2, "gather_pretrained": 3}
    assert workflow.jobs(target).items() >= probed.items()
    workflow.write_config()
    assert "probe_pretrained" not in workflow.jobs(target)


def test_a_model_is_probed_again_only_if_its_facts_or_weights_changed(workflow, folder, models):
    target = "results/pretrained/model=causal/answers.parquet"
    workflow.snakemake(target)
    assert workflow.jobs(target) == {}
    write_facts(folder, count=5)
    assert workflow.jobs(target) == {"probe_pretrained": 1}
    write_facts(folder)
    assert workflow.jobs(target) == {}
    weights = folder / "c/model.safetensors"
    content, times = weights.read_bytes(), weights.stat()
    os.utime(weights)
    assert workflow.jobs(target) == {}
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size and time
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert workflow.jobs(target) == {"probe_pretrained": 1}


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
