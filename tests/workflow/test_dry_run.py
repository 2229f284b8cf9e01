"""What Snakemake would do, without doing it."""

import json
import re

import pytest
import yaml

from reversal_curse.config.figures import PAPER_FIGURES, PRETRAINED_FIGURES

from .conftest import TINY_POINTS


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_configs_that_come_with_the_project_pass_a_dry_run(workflow, root, name):
    """If the user gives no config, it is `config/config.yaml`."""
    workflow.config_file.unlink()
    given = ("--configfile", str(root / "config" / name)) if name == "paper.yaml" else ()
    jobs = workflow.jobs(*given)
    figures = {rule.removeprefix("figure_") for rule in jobs if rule.startswith("figure_")}
    pretrained = jobs.get("probe_pretrained", 0)
    assert pretrained == (7 if name == "paper.yaml" else 0)  # a dry run downloads none of them
    assert figures >= {*PAPER_FIGURES, *(PRETRAINED_FIGURES if pretrained else {})}
    for family in ("gpt", "masked_diffusion", "one_layer", "bilinear"):
        assert jobs[f"train_{family}"] >= 1


def test_a_config_of_the_user_replaces_the_default(workflow):
    figures = ("reversal_curve", "reversal_vocab", "mine", "bilinear_separation")
    tables = ("train_bilinear", "aggregate", "judge_claims", "write_page")
    once = (*tables, *(f"figure_{figure}" for figure in figures))
    assert workflow.jobs() == {"dataset": 2, "train_gpt": 2, **dict.fromkeys(once, 1)}


def test_a_figure_trains_only_what_it_needs_and_a_dry_run_writes_nothing(workflow):
    jobs = workflow.jobs("results/figures/reversal_curve.pdf")
    assert jobs == {"dataset": 1, "train_gpt": 1, "figure_reversal_curve": 1}
    assert not (workflow.directory / "results").exists()


def test_targets_have_a_docstring_and_the_slurm_profile_names_rules_that_exist(workflow, root):
    listed = workflow.snakemake("--list-rules")
    for target in ("all", "data", "metrics", "figures", "claims", "plan", "figure_reversal_curve"):
        assert re.search(rf"^{target} \(.+\)$", listed, re.MULTILINE), target
    profile = yaml.safe_load((root / "profiles/slurm/config.yaml").read_text())
    for rule, resources in profile["set-resources"].items():
        assert re.search(rf"^{rule}\b", listed, re.MULTILINE), rule
        assert "attempt" in resources["runtime"]


def test_values_on_the_command_line_become_numbers_and_booleans(workflow, nvidia_smi):
    """A second config file is merged over the first; jobs get the merged config."""
    workflow.path = f"{nvidia_smi}:{workflow.path}"
    patch = workflow.directory / "patch.yaml"
    patch.write_text("defaults: {epochs: 9, seeds: 4}\nsweeps: {vocab: {vocab_size: [20, 28]}}\n")
    given = "defaults={seeds: 3, freeze_embeddings: true, learning_rate: 1e-3}"
    files = ("--configfile", str(workflow.config_file), str(patch))
    output = workflow.snakemake("plan", "--config", given, *files)
    (snapshot,) = workflow.find("configs/*.json")
    config = json.loads(snapshot.read_text())
    changed = {"epochs": 9, "seeds": 3, "freeze_embeddings": True, "learning_rate": 1e-3}
    assert config["defaults"].items() >= {**changed, "layers": 1}.items()
    assert config["sweeps"]["vocab"] == {"vocab_size": [20, 28]}
    (row,) = (line.split() for line in output.splitlines() if line.startswith("all, each"))
    assert row[4:7] == [str(TINY_POINTS), "0", str(TINY_POINTS)]
    assert "core-hours" in output, "jobs that are not submitted must be planned for this machine"
    assert 'Provided resources: gpu=Resource("gpu", 2)' in output, "jobs must share two GPUs"


def test_a_thousand_small_points_are_at_most_25_jobs_on_slurm(workflow, root):
    """Jobs that run beside Snakemake do not count; values given by hand change no job's size."""
    sweep = {"layers": {"range": [1, 40]}, "embed_dim": list(range(8, 33))}
    workflow.write_config(sweeps={"many": sweep}, figures={"sweep_overview": "many"})
    profile = ("--profile", str(root / "profiles/slurm"))
    jobs = workflow.jobs("--config", "defaults={epochs: 7}", *profile)
    assert 1 <= jobs.pop("train_gpt") <= 24
    gathered = {"aggregate", "judge_claims", "write_page"}
    assert jobs.keys() - gathered == {"dataset", "figure_sweep_overview"}


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--slurm-qos", "--slurm-qos: must be --reversal-curse-slurm-qos"),
        ("--reversal-curse-slurm-array-jobs", "--reversal-curse-slurm-array-jobs: must be unset"),
    ],
)
def test_options_that_would_be_ignored_or_lose_jobs_on_slurm_are_refused(
    workflow, root, option, problem
):
    profile = ("--profile", str(root / "profiles/slurm"))
    assert problem in workflow.snakemake("data", option, "x", *profile, status=1)


def test_commands_are_short_however_long_the_config_is(workflow):
    points = [{"layers": 1, "embed_dim": 8 + i, "heads": 1} for i in range(300)]
    workflow.write_config(job_minutes=0.0, sweeps={"many": {"points": points}})
    output = workflow.snakemake("--dry-run", "--printshellcmds")
    commands = re.findall(r"python -m reversal_curse .*", output)
    assert sum("train-job" in command for command in commands) == 300
    assert max(map(len, commands)) < 500


def test_a_training_job_outside_the_config_is_refused_by_name(workflow):
    output = workflow.snakemake("--dry-run", "results/jobs/gpt_abc.json", status=1)
    assert "no training job gpt_abc in this config" in output
