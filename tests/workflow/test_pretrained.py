"""Pretrained models through the workflow: tiny ones, made on the spot."""

from __future__ import annotations

import json

import polars as pl
import pytest

from reversal_curse.pretrained.entry import MEASURED
from reversal_curse.registry import PRETRAINED_FIGURES
from tiny_models import save_causal, save_masked, save_own_code, write_facts


@pytest.fixture
def models(workflow, tiny) -> list[dict]:
    """Entries of a masked and a causal model; the config that is written has them."""
    folder = workflow.directory / "checkpoints_of_others"
    folder.mkdir()
    common = {"facts": write_facts(folder), "steps": 2, "seeds": 1}
    entries = [
        {"name": "masked", "kind": "masked_lm", "path": str(save_masked(folder / "m")), **common},
        {"name": "causal", "kind": "causal", "path": str(save_causal(folder / "c")), **common},
    ]
    config = {"defaults": tiny["defaults"], "sweeps": [{"name": "base"}], "pretrained": entries}
    workflow.write_config(config)
    return entries


def test_figures_tables_and_claims_of_pretrained_models_are_made(workflow, models):
    figures = [f"results/figures/{name}.png" for name in PRETRAINED_FIGURES]
    workflow.snakemake(*figures)
    results = workflow.directory / "results"
    for figure in figures:
        assert (workflow.directory / figure).stat().st_size > 1000
    for table in MEASURED:
        gathered = pl.read_parquet(results / f"pretrained/{table}.parquet")
        expected = {"masked"} if table == "scores" else {"masked", "causal"}
        assert set(gathered["model"]) == expected
    record = json.loads((results / "pretrained/model=causal/run.json").read_text())
    assert record["architecture"] == "LlamaForCausalLM"
    assert workflow.jobs(*figures) == {}


def test_the_ledger_asks_for_pretrained_models_only_where_there_are_some(workflow, models, tiny):
    target = "results/claims.md"
    assert workflow.jobs(target) == {"probe_pretrained": 2, "gather_pretrained": 3} | {
        "judge_claims": 1
    }
    workflow.write_config(tiny)
    assert "probe_pretrained" not in workflow.jobs(target)


def test_changed_facts_or_settings_probe_again_and_others_do_not(workflow, models, tiny):
    target = "results/pretrained/model=causal/answers.parquet"
    workflow.snakemake(target)
    assert workflow.jobs(target) == {}
    write_facts(workflow.directory / "checkpoints_of_others", count=5)
    assert workflow.jobs(target) == {"probe_pretrained": 1}
    write_facts(workflow.directory / "checkpoints_of_others")
    assert workflow.jobs(target) == {}


def test_what_cannot_be_loaded_is_one_line_in_the_log(workflow, models, tiny):
    folder = save_own_code(workflow.directory / "own")
    models[0] |= {"path": str(folder), "kind": "masked_diffusion"}
    workflow.write_config(
        {"defaults": tiny["defaults"], "sweeps": [{"name": "base"}], "pretrained": models}
    )
    workflow.snakemake("results/pretrained/model=masked/answers.parquet", status=1)
    log = (workflow.directory / "results/logs/pretrained/masked.log").read_text()
    assert "its code comes with the checkpoint" in log
    assert log.count("\n") == 1
    assert not (folder / "was_run").exists()
