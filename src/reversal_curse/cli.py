"""The command line: `reversal-curse COMMAND`, or `python -m reversal_curse COMMAND`.

A `UserError` becomes one line and exit status 1; anything else is a defect of ours and
keeps its traceback.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config, read_value
from reversal_curse.config.grid import all_points, dataset_directory, own_folder, read_sweeps
from reversal_curse.config.pretrained import MEASURED, PretrainedModel
from reversal_curse.tables.files import write_table
from reversal_curse.tables.provenance import VERSION
from reversal_curse.tables.schemas import TABLES

EPILOG = """\
for people:
  train      train one grid point here:
             reversal-curse train layers=1 embed_dim=20 epochs=50 seeds=2 --output my_run
  draw       draw a plot of runs: reversal-curse draw curves my_run --output curves.pdf
  plan       what a config trains, what is waiting, and how long it takes:
             reversal-curse plan config/paper.yaml

steps of the workflow, which its rules call:
  dataset, train-job, probe-pretrained, gather-pretrained, aggregate, figure, claims

`reversal-curse COMMAND --help` says what a command takes.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return getattr(error, "status", 1)
    except OSError as error:
        print(f"{error.filename or 'error'}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reversal-curse",
        description="The reversal curse, measured: train, draw, plan, and the workflow's steps.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"reversal-curse {VERSION}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    verb = _verb(verbs, "train", _train, "Train all seeds of one grid point on this machine.")
    verb.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="as in config/README.md")
    verb.add_argument("--output", type=Path, required=True, help="directory for the run's tables")
    verb.add_argument("--threads", type=_positive, default=1, help="CPU threads (default: 1)")

    verb = _verb(verbs, "draw", _draw, "Draw a plot of one run or several.")
    verb.add_argument("plot", metavar="PLOT", help="as in config/README.md: curves, final, ...")
    verb.add_argument("runs", nargs="+", type=Path, metavar="DIRECTORY", help="of `train --output`")
    verb.add_argument("--output", type=Path, nargs="+", required=True, help=".pdf, .png or .svg")

    verb = _verb(verbs, "plan", _plan, "Print what is trained, what is waiting, and its cost.")
    verb.add_argument(
        "config", nargs="*", type=Path, default=[Path("config/config.yaml")], help="YAML files"
    )
    verb.add_argument("--results", type=Path, default=Path("results"), help="all results")
    verb.add_argument("--hardware", choices=("cpu", "gpu"), help="in place of the config's")

    _step(verbs, "dataset", _dataset, dataset="directory below results/data", output="file")
    _step(verbs, "train-job", _train_job, threads=True, job="its name", report="file")
    _step(verbs, "probe-pretrained", _probe_pretrained, threads=True, model="its name")
    tables = ", ".join(MEASURED)
    _step(verbs, "gather-pretrained", _gather_pretrained, table=tables, output="file")
    _step(verbs, "aggregate", _aggregate, metrics="file", points="file")
    step = _step(verbs, "figure", _figure)
    step.add_argument("name", metavar="NAME", help="its name in the config")
    step.add_argument("--output", type=Path, nargs="+", required=True, help=".pdf, .png or .svg")
    _step(verbs, "claims", _claims, table="file", page="file")
    return parser


def _verb(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, description=text)
    verb.set_defaults(run=run)
    return verb


def _step(verbs: Any, name: str, run: Any, threads: bool = False, **needed: str) -> Any:
    """A step of the workflow, with the options that it needs; those called `file` are paths."""
    step = _verb(verbs, name, run, run.__doc__)
    step.add_argument("--config", type=Path, required=True, help="YAML or JSON file")
    step.add_argument("--results", type=Path, default=Path("results"), help="all results")
    for option, text in needed.items():
        kind = Path if text == "file" else str
        step.add_argument(f"--{option}", type=kind, required=True, help=text)
    if threads:
        step.add_argument("--threads", type=_positive, default=1, help="CPU threads")
        step.add_argument("--checkpoint-minutes", type=_minutes, default=10.0)
    return step


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is refused; allowed: a whole number from 1 on")
    return int(text)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is refused; allowed: a number from 0 on")
    return value


def _config(*paths: Path, hardware: str | None = None) -> Config:
    given = {"hardware": hardware} if hardware else {}
    return Config.load(*paths, overrides=given).executed(submitted=False)


def _train(options: argparse.Namespace) -> None:
    from reversal_curse.notebook import choose

    given = {}
    for text in options.settings:
        name, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"{text}: must be SETTING=VALUE")
        given[name] = read_value(value)
    settings = choose(**given)
    from reversal_curse.tables.dataset import Dataset, generate_dataset
    from reversal_curse.training.grid_point import train_grid_point

    train_grid_point(
        settings, Dataset.of(generate_dataset(settings)), options.output, options.threads
    )
    print(f"{options.output}: metrics.parquet, run.json and what the family is probed for")


def _draw(options: argparse.Namespace) -> None:
    from reversal_curse.figures.render import save
    from reversal_curse.notebook import draw, load

    save(draw(options.plot, [load(directory) for directory in options.runs]), options.output)
    print(*options.output, sep="\n")


def _plan(options: argparse.Namespace) -> None:
    from reversal_curse.jobs.plan import plan

    print(plan(_config(*options.config, hardware=options.hardware), options.results))


def _dataset(options: argparse.Namespace) -> None:
    """Write the sentences of one task and size."""
    from reversal_curse.tables.dataset import generate_dataset

    points = all_points(read_sweeps(_config(options.config)))
    known = {dataset_directory(settings): settings for settings in points.values()}
    frame = generate_dataset(_found("dataset", options.dataset, known))
    write_table(options.output, frame, TABLES["dataset"])
    print(f"{options.output}: {frame.height} sentences")


def _found(kind: str, name: str, known: dict[str, Any]) -> Any:
    """What the config calls so; raises UserError where it has nothing of that name."""
    if name not in known:
        raise UserError(f"no {kind} {name} in this config; did it change since the workflow began?")
    return known[name]


def _train_job(options: argparse.Namespace) -> None:
    """Train the grid points of one job."""
    from reversal_curse.jobs.training_jobs import training_jobs
    from reversal_curse.jobs.worker import train_job

    config = _config(options.config)
    job = _found("training job", options.job, training_jobs(config, read_sweeps(config)))
    train_job(
        list(job.points.values()),
        options.results,
        options.report,
        options.threads,
        60 * options.checkpoint_minutes,
    )


def _models(config: Config) -> dict[str, PretrainedModel]:
    return {model.name: model for model in config.pretrained}


def _probe_pretrained(options: argparse.Namespace) -> None:
    """Measure and fine-tune a pretrained model."""
    entry = _found("pretrained model", options.model, _models(_config(options.config)))
    from reversal_curse.pretrained.probe import probe_pretrained

    folder = options.results / "pretrained"
    probe_pretrained(
        entry,
        folder / f"model={entry.name}",
        options.threads,
        options.results / "checkpoints/pretrained",
        60 * options.checkpoint_minutes,
    )


def _gather_pretrained(options: argparse.Namespace) -> None:
    """Gather a table over pretrained models."""
    from reversal_curse.tables.aggregate import gather_pretrained

    folder = options.results / "pretrained"
    models = [folder / f"model={name}" for name in _models(_config(options.config))]
    rows = gather_pretrained(models, options.table, options.output)
    print(f"{options.output}: {rows} rows")


def _aggregate(options: argparse.Namespace) -> None:
    """Gather metrics, and a row per grid point."""
    from reversal_curse.tables.aggregate import aggregate

    config = _config(options.config)
    points = aggregate(config, options.results, options.metrics, options.points)
    print(f"{options.metrics}, {options.points}: {points} grid points")


def _figure(options: argparse.Namespace) -> None:
    """Render one figure of a config."""
    from reversal_curse.figures.render import draw_figure, save

    config = _config(options.config)
    root = own_folder(config, options.results)
    save(draw_figure(config, options.name, options.results, root), options.output)


def _claims(options: argparse.Namespace) -> None:
    """Judge the papers' claims."""
    from reversal_curse.claims.ledger import write_ledger

    config = _config(options.config)
    root = own_folder(config, options.results)
    table = write_ledger(config, options.results, root, options.table, options.page)
    for verdict, count in table.group_by("verdict", maintain_order=True).len().iter_rows():
        print(f"{count:3} {verdict}")
