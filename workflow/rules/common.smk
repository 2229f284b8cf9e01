"""The config, checked once, and what the rules derive from it."""

import gc
import os
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import gettempdir

from snakemake.exceptions import WorkflowError

# This checkout, also if the workflow is a module of another one.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent.parent
if not {*":{}"}.isdisjoint(str(ROOT)):  # they mean something to PYTHONPATH and Snakemake
    sys.exit(f"the checkout's path must be without : {{ and }}, got {ROOT}")

# The package beside the Snakefile, whatever is installed, is the one that runs. Neither we nor the
# Python calls that follow look for modules in the working directory; Snakemake puts the folder of
# the Snakefile first.
os.environ.update(
    PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    PYTHONPATH=f"{ROOT}/src:{os.environ.get('PYTHONPATH', '')}".strip(":"),
    PYTHONSAFEPATH="1",
)
sys.path = [f"{ROOT}/src", *(path for path in sys.path if path != workflow.basedir)]

from reversal_curse.claims.ledger import claim_points
from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import dataset_directory
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.pretrained import MEASURED
from reversal_curse.families import FAMILIES
from reversal_curse.jobs.locks import drop_dead_locks
from reversal_curse.jobs.training_jobs import training_jobs
from reversal_curse.jobs.progress import DEVICES, Progress
from reversal_curse.pretrained.model_folder import memory_to_ask_for
from reversal_curse.products import Products
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.training.gpus import count_gpus

# Snakemake keeps thousands of jobs, which are never garbage. Searching them again and again, as
# Python does by default, took a seventh of the time of a dry run of 20,000 grid points.
gc.set_threshold(1_000_000)


def or_exit(check, *arguments, **named):
    """Return the result of a check; exit if the user made mistakes, with one line for each."""
    try:
        return check(*arguments, **named)
    except UserError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")


# Jobs are submitted if the executor limits their number, or if this process is itself such a job.
SUBMITTED = workflow.resource_settings.nodes is not None or workflow.remote_exec

# We read the files ourselves: Snakemake keeps the last of two equal keys, and leaves the numbers in
# `--config 'defaults={seeds: 3}'` as strings. The user's config replaces the default one. A module
# has the config that the other workflow gives it.
IS_MODULE = not workflow.modifier.is_main_snakefile()
if workflow.modifier.modify_path("results/") != "results/":  # jobs write there
    sys.exit(f"module {__name__}: must have no prefix; `name` in its config keeps files apart")
if IS_MODULE:
    given = or_exit(Config.load, overrides=config, named=f"config of module {__name__}")
else:
    FILES = workflow.overwrite_configfiles or [ROOT / "config/config.yaml"]
    given = or_exit(Config.load, *FILES, overrides=workflow.config_settings.config)
CONFIG = given.executed(SUBMITTED)
PRODUCTS = or_exit(Products, CONFIG, Path("results"))

SWEEPS, POINTS, RUNS = PRODUCTS.sweeps, PRODUCTS.points, PRODUCTS.runs
JOBS = training_jobs(CONFIG, SWEEPS)
JOB_OF = {run: name for name, job in JOBS.items() for run in job.points}
FIGURES = CONFIG.drawings()
CLAIM_RUNS = claim_points(SWEEPS)
PRETRAINED = {model.name: model for model in CONFIG.pretrained}

# The folder of the config's own figures and tables.
OWN = str(PRODUCTS.own)
# What is out of date depends on this file, which is newer than it.
STALE = PRODUCTS.own / "made/stale"
STARTED = time.time()
# The config for the jobs: a file, since it may be too long for a command line.
SNAPSHOT = f"results/configs/{digest_of(CONFIG.to_json())}.json"

# Run no more local GPU jobs at a time than there are GPUs. On a machine without a GPU these jobs
# run on the CPU, on as many cores as Snakemake was given.
if not SUBMITTED and "gpu" not in workflow.global_resources and (gpus := count_gpus()):
    workflow.register_resource("gpu", gpus)

# Set the directory for temporary files once, since Snakemake would look it up for each job. Cluster
# nodes have their own, and resources that the user gives for every rule stay.
GIVEN = workflow.resource_settings.default_resources is not None
HERE = {"tmpdir": gettempdir()} if not SUBMITTED and not GIVEN else {}

# The resources of a training job; `set-resources` in a profile changes them for a family. Times of
# GPUs are guesses, so we ask for more. On a GPU, the machine's memory holds weights alone, which
# are a seventh of what the GPU holds.
ASKED = {"gpu": 1}
if SUBMITTED:
    IN_MACHINE = 1 / 4 if CONFIG.hardware == "gpu" else 5 / 4
    ASKED |= {
        "mem_mb": lambda wildcards, attempt: (
            attempt * (8000 + round(IN_MACHINE * find_job(wildcards).memory / 1e6))
        ),
        "runtime": lambda wildcards, attempt: (
            attempt * (30 + round(4 * find_job(wildcards).seconds / 60))
        ),
        "cpus_per_task": 4,
    }

# The priority of all jobs but training: they take seconds and somebody waits for them, or they take
# longest of all (a pretrained model).
FIRST = 1


# The training jobs of this call, known once the DAG is built.
CALLED = set()

for handler in workflow.logger_manager.get_log_handlers():
    if hasattr(handler, "attach"):  # our logger plugin
        from reversal_curse.jobs.screen import Screen

        if handler.screen and handler.screen.every == JOBS:  # `use rule ... with` of one module
            CALLED = handler.screen.called
            continue
        cores = workflow.resource_settings.cores or 1
        slots = workflow.resource_settings.nodes or min(cores, count_gpus() or cores)
        progress, log = Progress(CONFIG, SWEEPS, RUNS, slots), workflow.logger_manager.get_logfile
        dry_run = workflow.output_settings.dryrun
        prefix = workflow.modifier.modify_rulename("")
        handler.attach(Screen(progress, JOBS, CALLED, PRODUCTS.own, log, dry_run, prefix))


def write_snapshot():
    """Write the config for the jobs."""
    with replacing(Path(SNAPSHOT)) as new:  # jobs of another call may be reading it
        new.write_text(CONFIG.to_json(), encoding="utf-8")


onstart:
    write_snapshot()


if IS_MODULE and not workflow.remote_exec:  # Snakemake calls `onstart` of the main workflow alone
    write_snapshot()


wildcard_constraints:
    model="|".join(PRETRAINED),
    measured="|".join(MEASURED),


if not workflow.remote_exec:
    or_exit(drop_dead_locks, Path())
    for note in or_exit(PRODUCTS.notes):
        print(note, file=sys.stderr)
    if CONFIG.stale == "refuse":
        if RUNS.by_other_code(POINTS) or PRODUCTS.models_by_other_code():
            sys.exit(1)


@cache
def trained(run):
    """Tell whether a grid point has a finished run of its settings that counts."""
    return RUNS.record(run, POINTS[run]) is not None


def report_of_job(name):
    """Return the path of the report that a training job writes once its grid points are trained."""
    return f"results/jobs/{name}.json"


def reports(runs):
    """Return the reports of the jobs that train these runs, except for runs already trained."""
    return sorted({report_of_job(JOB_OF[run]) for run in runs if not trained(run)})


def if_stale(files, problem):
    """Return the input that makes Snakemake make files again, if they exist and have a problem."""
    there = [Path(file) for file in files if Path(file).exists()]
    if workflow.remote_exec or not there:
        return []
    for file in there:
        if file.stat().st_mtime > time.time():  # the clock went back: nothing new would be newer
            with suppress(PermissionError):  # a file of another user
                os.utime(file, (STARTED, STARTED))
    if not problem():
        return []
    # Both new: Snakemake compares times, and the content with that of last time.
    with replacing(STALE) as new:
        new.write_text(f"{time.time_ns()}\n", encoding="utf-8")
    return [str(STALE)]


@cache
def again(product):
    """Return the input that makes Snakemake make a product again if it is out of date."""

    def problem():
        found = PRODUCTS.problem(product)
        if found.endswith(("as it was written", "is missing", "since it was probed")):
            print(f"{found}; it is made again", file=sys.stderr)
        return found

    return or_exit(if_stale, PRODUCTS.files(product), problem)


def again_job(wildcards):
    """Return the input that makes Snakemake run a job again whose report is no longer true."""
    runs = find_job(wildcards).points
    CALLED.add(wildcards.job)
    return or_exit(if_stale, [report_of_job(wildcards.job)], lambda: not all(map(trained, runs)))


def product_files(kind, names):
    """List the files of some products of one kind."""
    return [str(path) for name in names for path in PRODUCTS.files(f"{kind}/{name}")]


def gathered_pretrained(tables):
    """List tables over all pretrained models of the config."""
    return product_files("pretrained", tables if PRETRAINED else [])


def find_job(wildcards):
    """Return the training job whose report a rule was asked for."""
    if wildcards.job not in JOBS:
        raise WorkflowError(f"no training job {wildcards.job} in this config")
    return JOBS[wildcards.job]


def priority_of_job(wildcards):
    """Return a priority from 0 to 1: the longest job starts first, so no core idles at the end.

    The estimate counts all grid points of the job, trained or not.
    """
    estimate = find_job(wildcards).seconds
    return estimate / (estimate + 3600)


def title_of_job(wildcards):
    """Describe a training job in words."""
    job = find_job(wildcards)
    count, sweeps = len(job.points), ", ".join(job.sweeps)
    return f"{count} grid point{'s' * (count > 1)} of {job.family} ({sweeps})"


def datasets_of_job(wildcards):
    """List the datasets that a training job reads."""
    directories = map(dataset_directory, find_job(wildcards).points.values())
    return product_files("data", dict.fromkeys(directories))


def inputs_of_figure(name):
    """List what a figure needs: reports of its sweep's jobs, or tables of pretrained models."""
    plot, sweep = PLOTS[FIGURES[name].plot], FIGURES[name].sweep
    if plot.pretrained:
        needed = gathered_pretrained([table.removeprefix("pretrained_") for table in plot.tables])
    else:
        needed = reports(SWEEPS[sweep].points)
    return [*needed, *again(f"figures/{name}")]


def caption_of_figure(name):
    """Write the caption: the title, what the plot shows, and what the sweep varies."""
    figure = FIGURES[name]
    sweep = SWEEPS.get(figure.sweep)
    points = f"Sweep {figure.sweep}: {len(sweep.points)} grid points." if sweep else ""
    labels = [label for label in sweep.labels.values() if label] if sweep else []
    some = f" {'; '.join(labels)}." if 0 < len(labels) <= 12 else ""
    return f"**{figure.title}.** {PLOTS[figure.plot].caption()} {points}{some}"


def dataset_files():
    """List the datasets of the config."""
    return product_files("data", PRODUCTS.datasets)


def figure_files():
    """List the files of every figure of the config."""
    return product_files("figures", FIGURES)
