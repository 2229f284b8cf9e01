"""The config, checked once, and what the rules derive from it."""

import gc
import json
import os
import sys
from pathlib import Path
from tempfile import gettempdir

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from reversal_curse.claims.ledger import claim_tables
from reversal_curse.code_version import claims_version, figure_version
from reversal_curse.config import Config, read_yaml
from reversal_curse.errors import ConfigError
from reversal_curse.gpus import count_gpus
from reversal_curse.packing import packs
from reversal_curse.plan import DEVICES
from reversal_curse.pretrained.checkpoint import memory_to_ask_for, weights_version
from reversal_curse.pretrained.entry import MEASURED
from reversal_curse.pretrained.facts import facts_version
from reversal_curse.registry import ALL_FIGURES, FAMILIES, PRETRAINED_FIGURES, run_tables
from reversal_curse.runs import is_trained
from reversal_curse.sweep import (
    check_figures,
    dataset_directory,
    dataset_json,
    sweep_points,
    variant_labels,
)
from reversal_curse.tables import RUN_TABLES
from reversal_curse.versions import DATA_VERSION, PRETRAINED_VERSION, TRAINING_VERSION

# What Snakemake keeps of thousands of jobs is never garbage; to look through it again and again, as
# Python does by default, took a seventh of the time of a dry run of 20,000 grid points.
gc.set_threshold(1_000_000)

DEFAULT_CONFIG = f"{workflow.basedir}/config/config.yaml"

# Rules say `python -m reversal_curse`: that is the interpreter Snakemake itself runs in,
# also where its environment was not activated, and the package of this checkout.
os.environ.update(
    PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    PYTHONPATH=f"{os.environ.get('PYTHONPATH', '')}:{workflow.basedir}/src".strip(":"),
)


def or_exit(check, *arguments):
    """The result of a check; a mistake in the config ends the program with one line."""
    try:
        return check(*arguments)
    except ConfigError as error:
        sys.exit(str(error))


# Snakemake would keep the last of two equal keys; reading the files ourselves refuses them.
for path in workflow.overwrite_configfiles or [DEFAULT_CONFIG]:
    or_exit(read_yaml, path)

# Snakemake merges a --configfile into the default config, and two sets of sweeps would be
# mixed. A config given by the user replaces the default.
if not workflow.overwrite_configfiles:

    configfile: DEFAULT_CONFIG


CONFIG = or_exit(Config.parse, config)
SWEEPS = {sweep.name: or_exit(sweep_points, CONFIG, sweep) for sweep in CONFIG.sweeps}
POINTS = {path: settings for points in SWEEPS.values() for path, settings in points.items()}
or_exit(check_figures, CONFIG)

validate(config, "../schemas/config.schema.json", set_default=False)

PACKS = packs(SWEEPS, CONFIG.job_minutes, CONFIG.hardware)
PACK_OF = {directory: name for name, pack in PACKS.items() for directory in pack.points}

# How often a training job may be tried again after this attempt.
ATTEMPTS_LEFT = 0
if CONFIG.retries:
    ATTEMPTS_LEFT = lambda wildcards, attempt: CONFIG.retries + 1 - attempt

# Of jobs that run beside Snakemake and need next to nothing. Numbers, since a profile's expressions,
# and the directory for temporary files, would be worked out anew for each of thousands.
TINY = {"mem_mb": 100, "disk_mb": 1, "runtime": 5, "tmpdir": gettempdir()}

# Jobs are tried again by the Snakemake that submits them; inside a job, once is enough.
RETRIES = 0 if workflow.remote_exec else CONFIG.retries

# Local jobs that ask for a GPU: no more at a time than there are. On a machine without one they
# run on the CPU, on as many cores as Snakemake was given.
LOCAL = workflow.resource_settings.nodes is None and not workflow.remote_exec
if LOCAL and "gpu" not in workflow.global_resources and (gpus := count_gpus()):
    workflow.register_resource("gpu", gpus)

# The directory for temporary files, which would be worked out for each job. A node has its own, and
# what the user gives for every rule holds.
GIVEN = workflow.resource_settings.default_resources is not None
HERE = {"tmpdir": gettempdir()} if LOCAL and not GIVEN else {}

# Of all that is not training: it takes seconds and somebody waits for it, or it takes longest of all
# (a pretrained model).
FIRST = 1

PRETRAINED = {model.name: model for model in CONFIG.pretrained}
MEMORY_OF_MODEL = {
    name: memory_to_ask_for(model, DEVICES[CONFIG.hardware]) for name, model in PRETRAINED.items()
}
# Where the tables of a figure are, below results/.
FIGURE_SOURCES = {name: f"sweeps/{sweep}" for name, sweep in CONFIG.figures.items()}
if PRETRAINED:
    FIGURE_SOURCES |= dict.fromkeys(PRETRAINED_FIGURES, "pretrained")

DATASETS = {dataset_directory(settings): settings for settings in POINTS.values()}


wildcard_constraints:
    sweep="|".join(SWEEPS),
    table="|".join(RUN_TABLES),
    model="|".join(PRETRAINED),
    measured="|".join(MEASURED),


def find(kind, directory, known):
    """What the config knows of a directory that a rule was asked for."""
    if directory not in known:
        raise WorkflowError(f"no {kind} {directory} in this config; `snakemake plan` lists sweeps")
    return known[directory]


def point_settings(wildcards):
    """Settings of the grid point whose run directory a rule was asked for."""
    return find("grid point", wildcards.point, POINTS)


def pack(wildcards):
    """The grid points of the training job that a rule was asked for."""
    return find("training job", wildcards.pack, PACKS)


def priority_of_pack(wildcards):
    """Between 0 and 1: the longest training job starts first, so that no core waits at the end.

    Longest by the estimate of all its grid points, trained or not.
    """
    estimate = pack(wildcards).seconds
    return estimate / (estimate + 3600)


def title_of_pack(wildcards):
    """What a training job is, in words."""
    chosen = pack(wildcards)
    count, sweeps = len(chosen.points), ", ".join(chosen.sweeps)
    return f"{count} grid point{'s' * (count > 1)} of {chosen.family} ({sweeps})"


def inputs_of_pack(wildcards):
    """The datasets that a training job reads, and the call for another try.

    That file stands there after a grid point of the job failed, newer than the job's report.
    """
    directories = map(dataset_directory, pack(wildcards).points.values())
    again = f"results/packs/{wildcards.pack}.again"
    return [
        *(f"results/data/{directory}/dataset.parquet" for directory in dict.fromkeys(directories)),
        *([again] if os.path.exists(again) else []),
    ]


def report_of_point(wildcards):
    """What the training job of a grid point writes; nothing where the point is trained."""
    settings = point_settings(wildcards)
    if is_trained(Path("results/trained") / wildcards.point, settings):
        return []
    return f"results/packs/{PACK_OF[wildcards.point]}.json"


def dataset_settings(wildcards):
    """Settings of some grid point that reads the dataset that a rule was asked for."""
    return find("dataset", wildcards.dataset, DATASETS)


def files_of_sweep(sweep, table):
    """The run files of a sweep that hold a table."""
    return [
        f"results/runs/{directory}/{table}.parquet"
        for directory, settings in SWEEPS[sweep].items()
        if table in run_tables(settings.family)
    ]


def labels_of_variants(source):
    """How figures call the variants of a sweep, as JSON."""
    points = SWEEPS.get(source.removeprefix("sweeps/"), {})
    return json.dumps(variant_labels(CONFIG, points.values()))


def figure_files():
    """The files of every figure of the config."""
    return [
        f"results/figures/{name}.{suffix}" for name in FIGURE_SOURCES for suffix in ("pdf", "png")
    ]
