"""What Snakemake would do, without doing it."""

from __future__ import annotations

import re

import pytest
import yaml

from reversal_curse.registry import ALL_FIGURES, FAMILIES, FIGURES

from .conftest import TINY_POINTS


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_configs_that_come_with_the_project_dry_run(workflow, root, name):
    jobs = workflow.jobs("--configfile", str(root / "config" / name))
    figures = [rule for rule in jobs if rule.startswith("figure_")]
    pretrained = jobs.get("probe_pretrained", 0)
    assert pretrained == (4 if name == "paper.yaml" else 0)  # those would be downloaded
    assert len(figures) == len(ALL_FIGURES if pretrained else FIGURES)
    assert jobs["collect_gpt"] > 20
    assert jobs["collect_bilinear"] > 5
    assert jobs["collect_masked_diffusion"] > 10
    assert jobs["collect_one_layer"] > 5


def test_a_config_of_the_user_replaces_the_default(workflow):
    jobs = workflow.jobs()
    assert jobs["collect_gpt"] + jobs["collect_bilinear"] == TINY_POINTS
    assert jobs["dataset"] == 2


def test_without_a_configfile_the_default_is_used(workflow, root):
    named = workflow.jobs("--configfile", str(root / "config/config.yaml"))
    workflow.config_file.unlink()
    assert workflow.jobs() == named


def test_a_figure_trains_only_what_it_needs(workflow):
    jobs = workflow.jobs("results/figures/reversal_vocab.pdf")
    assert jobs == {
        "dataset": 2,
        "train_gpt": 2,
        "collect_gpt": 2,
        "aggregate_sweep": 1,
        "figure_reversal_vocab": 1,
    }


def test_targets_that_people_ask_for_exist_with_a_docstring(workflow):
    listed = workflow.snakemake("--list-target-rules")
    for target in ("all", "data", "metrics", "figures", "claims", "plan", "figure_reversal_curve"):
        assert re.search(rf"^{target} \(.+\)$", listed, re.MULTILINE), target


def test_the_slurm_profile_gives_every_training_job_a_gpu_memory_and_time(root):
    profile = yaml.safe_load((root / "profiles/slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm"
    for rule in (f"train_{family}" for family in FAMILIES):
        resources = profile["set-resources"][rule]
        assert "attempt" in resources["mem_mb"]
        assert "attempt" in resources["runtime"]
    assert "gpu=1" in (root / "workflow/rules/train.smk").read_text()


def test_the_slurm_profile_is_accepted(workflow, root):
    paper = str(root / "config/paper.yaml")
    jobs = workflow.jobs("--configfile", paper, "--profile", str(root / "profiles/slurm"))
    assert jobs["collect_gpt"] > 100


def test_a_sweep_of_a_thousand_points_dry_runs(workflow):
    sweep = {
        "name": "many",
        "layers": list(range(1, 41)),
        "embed_dim": list(range(8, 33)),
        "heads": 1,
        "pos_encoding": "absolute",
    }
    workflow.write_config({"sweeps": [sweep]})
    jobs = workflow.jobs()
    assert jobs["collect_gpt"] == 1000
    assert jobs["dataset"] == 1


def test_a_thousand_small_points_are_at_most_25_jobs_for_the_scheduler(workflow, root, tiny):
    """Everything but what runs where Snakemake does."""
    sweep = {"name": "many", "layers": list(range(1, 41)), "embed_dim": list(range(8, 33))}
    config = {
        "defaults": tiny["defaults"],
        "sweeps": [sweep],
        "figures": {"sweep_overview": "many"},
    }
    workflow.write_config(config)
    jobs = workflow.jobs("--profile", str(root / "profiles/slurm"))
    submitted = [rule for rule in jobs if rule.startswith(("train_", "aggregate_"))]
    assert jobs["collect_gpt"] == 1000
    assert sum(jobs[rule] for rule in submitted) <= 25
    local = {"dataset", "collect_gpt", "figure_sweep_overview", "judge_claims", "all"}
    assert jobs.keys() - submitted == local


def test_as_many_local_jobs_train_at_a_time_as_there_are_gpus(workflow, nvidia_smi):
    assert "Provided resources" not in workflow.snakemake("results/figures/reversal_curve.pdf")
    workflow.path = f"{nvidia_smi}:{workflow.path}"
    target = "results/figures/reversal_vocab.pdf"
    assert 'Provided resources: gpu=Resource("gpu", 2)' in workflow.snakemake(target)
    target = "results/figures/reversal_frozen.pdf"
    output = workflow.snakemake(target, "--resources", "gpu=1")
    assert 'Provided resources: gpu=Resource("gpu", 1)' in output


def test_each_grid_point_may_have_a_job_of_its_own(workflow):
    jobs = workflow.jobs("--config", "job_minutes=0")
    assert jobs["train_gpt"] + jobs["train_bilinear"] == TINY_POINTS


def test_a_grid_point_outside_the_config_is_refused_by_name(workflow):
    path = "results/runs/task=reversal/family=gpt/layers=9/settings=x/metrics.parquet"
    output = workflow.snakemake("--dry-run", path, status=1)
    assert "no grid point task=reversal/family=gpt/layers=9/settings=x in this config" in output
