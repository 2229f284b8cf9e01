"""The config, checked once, and what the rules derive from it."""

import gc
import os
import sys
from functools import cache
from pathlib import Path
from tempfile import gettempdir

from snakemake.exceptions import WorkflowError

from reversal_curse.claims.ledger import claim_points
from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import (
    all_points,
    dataset_directory,
    own_folder,
    pretrained_file,
    read_sweeps,
    refuse_old_layout,
)
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.pretrained import MEASURED
from reversal_curse.families import FAMILIES
from reversal_curse.jobs.training_jobs import training_jobs
from reversal_curse.jobs.plan import DEVICES
from reversal_curse.jobs.versions import claims_version, plot_version
from reversal_curse.pretrained.facts import facts_version
from reversal_curse.pretrained.model_folder import memory_to_ask_for, weights_version
from reversal_curse.tables.provenance import DATA_VERSION, PRETRAINED_VERSION, TRAINING_VERSION
from reversal_curse.tables.run_files import is_trained
from reversal_curse.training.gpus import count_gpus

# What Snakemake keeps of thousands of jobs is never garbage; to look through it again and again, as
# Python does by default, took a seventh of the time of a dry run of 20,000 grid points.
gc.set_threshold(1_000_000)

# Rules say `python -m reversal_curse`: that is the interpreter Snakemake itself runs in,
# also where its environment was not activated, and the package of this checkout.
os.environ.update(
    PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    PYTHONPATH=f"{os.environ.get('PYTHONPATH', '')}:{workflow.basedir}/src".strip(":"),
)


def or_exit(check, *arguments, **named):
    """The result of a check; a mistake of the user ends the program with a line for each."""
    try:
        return check(*arguments, **named)
    except UserError as error:
        sys.exit(str(error))


# Jobs are submitted where the executor has a limit of jobs, and this process may be one of them.
SUBMITTED = workflow.resource_settings.nodes is not None or workflow.remote_exec

# We read the files ourselves: Snakemake keeps the last of two equal keys, and leaves the numbers in
# `--config 'defaults={seeds: 3}'` as texts. A config of the user replaces the default one.
FILES = workflow.overwrite_configfiles or [f"{workflow.basedir}/config/config.yaml"]
CONFIG = or_exit(Config.load, *FILES, overrides=workflow.config_settings.config).executed(SUBMITTED)
SWEEPS = or_exit(read_sweeps, CONFIG)
or_exit(refuse_old_layout, Path("results"))

POINTS = all_points(SWEEPS)
DATASETS = sorted({dataset_directory(settings) for settings in POINTS.values()})
JOBS = training_jobs(CONFIG, SWEEPS)
JOB_OF = {run: name for name, job in JOBS.items() for run in job.points}
FIGURES = CONFIG.drawings()
DRAWN = {run for f in FIGURES.values() if f.sweep for run in SWEEPS[f.sweep].points}
CLAIM_RUNS = claim_points(SWEEPS)
PRETRAINED = {model.name: model for model in CONFIG.pretrained}

# Where the config's own figures and tables lie.
OWN = str(own_folder(CONFIG, Path("results")))
# The config for the jobs: a file, since it may be too long for a command line.
SNAPSHOT = f"results/configs/{digest_of(CONFIG.to_json())}.json"

# Local jobs that ask for a GPU: no more at a time than there are. On a machine without one they
# run on the CPU, on as many cores as Snakemake was given.
if not SUBMITTED and "gpu" not in workflow.global_resources and (gpus := count_gpus()):
    workflow.register_resource("gpu", gpus)

# The directory for temporary files, which would be worked out for each job. A node has its own, and
# what the user gives for every rule holds.
GIVEN = workflow.resource_settings.default_resources is not None
HERE = {"tmpdir": gettempdir()} if not SUBMITTED and not GIVEN else {}

# Of a training job; a profile's `set-resources` asks for something else by family.
ASKED = {"gpu": 1}
if SUBMITTED:
    ASKED |= {
        "mem_mb": lambda wildcards, attempt: 48000 * attempt,
        "runtime": lambda wildcards, attempt: 1440 * attempt,  # minutes
        "cpus_per_task": 4,
    }

# Of all that is not training: it takes seconds and somebody waits for it, or it takes longest of all
# (a pretrained model).
FIRST = 1


onstart:
    Path(SNAPSHOT).parent.mkdir(parents=True, exist_ok=True)
    Path(SNAPSHOT).write_text(CONFIG.to_json(), encoding="utf-8")


wildcard_constraints:
    model="|".join(PRETRAINED),
    measured="|".join(MEASURED),


@cache
def trained(run):
    """Whether a grid point has a finished run of the current settings and code."""
    return is_trained(Path("results/runs") / run, POINTS[run])


@cache
def report_of_job(name):
    """What a training job writes when all its grid points are trained.

    A report that is no longer true, since a run was deleted, is removed: the job runs again.
    """
    path = Path(f"results/jobs/{name}.json")
    if path.exists() and not workflow.remote_exec and not all(map(trained, JOBS[name].points)):
        path.unlink()
    return str(path)


def reports(runs):
    """Reports of the jobs that train what is not trained of these runs.

    Targets ask for them too: Snakemake does not miss one while all that is made from it is there.
    """
    return sorted({report_of_job(JOB_OF[run]) for run in runs if not trained(run)})


def reports_of_sweep(sweep):
    return reports(SWEEPS[sweep].points)


def find_job(wildcards):
    """The training job whose report a rule was asked for."""
    if wildcards.job not in JOBS:
        raise WorkflowError(f"no training job {wildcards.job} in this config")
    return JOBS[wildcards.job]


def priority_of_job(wildcards):
    """Between 0 and 1: the longest training job starts first, so that no core waits at the end.

    Longest by the estimate of all its grid points, trained or not.
    """
    estimate = find_job(wildcards).seconds
    return estimate / (estimate + 3600)


def title_of_job(wildcards):
    """What a training job is, in words."""
    job = find_job(wildcards)
    count, sweeps = len(job.points), ", ".join(job.sweeps)
    return f"{count} grid point{'s' * (count > 1)} of {job.family} ({sweeps})"


def datasets_of_job(wildcards):
    """The datasets that a training job reads."""
    directories = map(dataset_directory, find_job(wildcards).points.values())
    return [f"results/data/{directory}/dataset.parquet" for directory in dict.fromkeys(directories)]


def version_of_runs(runs):
    """Stands for a set of grid points and the current training code."""
    return digest_of([*sorted(runs), DATA_VERSION, TRAINING_VERSION])


def inputs_of_figure(name):
    """What a figure needs: its sweep trained, or tables of pretrained models."""
    plot = PLOTS[FIGURES[name].plot]
    if plot.pretrained:
        return [str(pretrained_file(CONFIG, Path("results"), table)) for table in plot.tables]
    return reports_of_sweep(FIGURES[name].sweep)


def version_of_figure(name):
    """Changes with what a figure draws, with its code and with the words in it."""
    figure = FIGURES[name]
    sweep = SWEEPS.get(figure.sweep)
    shown = [*sweep.labels.values(), version_of_runs(sweep.points)] if sweep else []
    return digest_of([plot_version(figure.plot), figure.plot, *shown])


def caption_of_figure(name):
    """The title, what the plot shows, and what the sweep varies."""
    figure = FIGURES[name]
    sweep = SWEEPS.get(figure.sweep)
    points = f"Sweep {figure.sweep}: {len(sweep.points)} grid points." if sweep else ""
    labels = [label for label in sweep.labels.values() if label] if sweep else []
    some = f" {'; '.join(labels)}." if 0 < len(labels) <= 12 else ""
    return f"**{figure.title}.** {PLOTS[figure.plot].caption()} {points}{some}"


def figure_files():
    """The files of every figure of the config."""
    return [f"{OWN}/figures/{name}.{suffix}" for name in FIGURES for suffix in ("pdf", "png")]
