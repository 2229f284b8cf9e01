"""The command line: `reversal-curse COMMAND`, or `python -m reversal_curse COMMAND`.

A `UserError` becomes one line and exit status 1; any other error is a bug of ours and keeps
its traceback. Commands import slow packages only when they run.
"""

import argparse
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config, read_value
from reversal_curse.config.pretrained import MEASURED
from reversal_curse.jobs.watcher import Watched
from reversal_curse.products import OVERVIEW, Products
from reversal_curse.tables.files import write_table
from reversal_curse.tables.schemas import TABLES
from reversal_curse.version import VERSION

EPILOG = """\
train, draw, plan, status, doctor, compare, falsify and confirm are for people; the others are steps
of the workflow. For instance:
  reversal-curse train layers=1 embed_dim=20 epochs=50 seeds=2 --output my_run
  reversal-curse draw curves my_run --output curves.pdf
  reversal-curse plan config/paper.yaml
  reversal-curse compare my_study other/results
"""
DEFAULT = [Path("config/config.yaml")]
CONFIGS: Any = {"nargs": "*", "type": Path, "default": DEFAULT, "help": "YAML files"}
FILES: Any = {"nargs": "+", "type": Path, "help": ".pdf, .png, .svg or .csv"}
RESULTS: Any = {"type": Path, "default": Path("results"), "help": "the results folder"}


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:  # int() reads `+1` and `1_0`, too
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text}")
    return int(text)


CPUS: Any = {"type": _threads, "default": 1, "help": "CPU threads (default: 1)"}


def main(arguments: list[str] | None = None, watched: Watched | None = None) -> int:
    """Run one command; returns the exit status. `watched`: whoever watches over its training."""
    options = _parser().parse_args(arguments)
    options.watched = watched or Watched()
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

    verb = _verb(verbs, _train)
    verb.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="as in config/README.md")
    verb.add_argument("--output", type=Path, required=True, help="directory for the run's tables")
    verb.add_argument("--threads", **CPUS)

    verb = _verb(verbs, _draw)
    verb.add_argument("plot", metavar="PLOT", help="as in config/README.md: curves, final, ...")
    verb.add_argument("runs", nargs="+", type=Path, metavar="DIRECTORY", help="of `train --output`")
    verb.add_argument("--output", required=True, **FILES)

    verb = _verb(verbs, _plan)
    verb.add_argument("config", **CONFIGS)
    verb.add_argument("--results", **RESULTS)
    verb.add_argument("--hardware", choices=("cpu", "gpu"), help="overrides the config")

    verb = _verb(verbs, _status)
    verb.add_argument("config", **CONFIGS)
    verb.add_argument("--results", **RESULTS)
    verb.add_argument("--watch", action="store_true", help="until Ctrl-C")

    verb = _verb(verbs, _doctor)
    verb.add_argument("config", **CONFIGS)
    verb.add_argument("--profile", required=True, help="as Snakemake's: a name or a folder")
    seconds = "seconds for a probe job to start (default: 60)"
    verb.add_argument("--wait", type=float, default=60.0, help=seconds)

    verb = _verb(verbs, _compare)
    kinds = "a results folder, a config's name, CONFIG.yaml or CONFIG.yaml:SWEEP"
    verb.add_argument("sides", nargs=2, metavar="SIDE", help=kinds)
    verb.add_argument("--results", **RESULTS)
    verb.add_argument("--page", type=Path, help="write an HTML file too")

    _step(verbs, _dataset, name="its directory below results/data")
    step = _step(verbs, _train_job, name="its name", threads=True)
    step.add_argument("--report", type=Path, required=True, help="written once all are trained")
    _step(verbs, _probe_pretrained, name="its name", threads=True)
    _step(verbs, _gather_pretrained, name=", ".join(MEASURED))
    _step(verbs, _aggregate)
    step = _step(verbs, _figure, name="its name in the config")
    step.add_argument("--output", **FILES)
    _step(verbs, _claims)
    _step(verbs, _page)
    _step(verbs, _falsify)
    _step(verbs, _confirm)
    return parser


def _verb(verbs: Any, run: Any) -> argparse.ArgumentParser:
    """Add the command that a function is named after."""
    name = run.__name__.strip("_").replace("_", "-")
    verb = verbs.add_parser(name, help=run.__doc__, description=run.__doc__)
    verb.set_defaults(run=run)
    return verb


def _step(verbs: Any, run: Callable, name: str = "", threads: bool = False) -> Any:
    """Add a step of the workflow, with the products of a config as its first argument."""

    @wraps(run)
    def load_and_run(options: argparse.Namespace) -> None:
        config = Config.load(options.config).executed(submitted=False)
        run(Products(config, options.results), options)

    step = _verb(verbs, load_and_run)
    if name:
        step.add_argument("name", metavar="NAME", help=name)
    step.add_argument("--config", type=Path, required=True, help="YAML or JSON file")
    step.add_argument("--results", **RESULTS)
    if threads:
        step.add_argument("--threads", **CPUS)
        step.add_argument("--checkpoint-minutes", type=float, default=10.0)
    return step


def _train(options: argparse.Namespace) -> None:
    """Train all seeds of one grid point on this machine."""
    from reversal_curse.notebook import choose

    given = {}
    for text in options.settings:
        name, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"{text}: must be SETTING=VALUE")
        given[name] = read_value(value)
    settings = choose(**given)  # before torch is imported
    from reversal_curse.tables.dataset import Dataset, generate_dataset
    from reversal_curse.training.grid_point import train_grid_point

    dataset = Dataset.of(generate_dataset(settings))
    train_grid_point(settings, dataset, options.output, options.threads)
    print(f"{options.output}: metrics.parquet, run.json and tables of the family's probes")


def _draw(options: argparse.Namespace) -> None:
    """Draw a plot of one run or several."""
    from reversal_curse.figures.render import save
    from reversal_curse.notebook import draw, load

    save(draw(options.plot, [load(directory) for directory in options.runs]), options.output)
    print(*options.output, sep="\n")


def _progress(options: argparse.Namespace, **overrides: Any) -> tuple[Products, Any, Any]:
    """Read configs: their products, how far these are trained, and the jobs that train them."""
    from reversal_curse.jobs.progress import Progress
    from reversal_curse.jobs.training_jobs import training_jobs

    config = Config.load(*options.config, overrides=overrides).executed(submitted=False)
    products = Products(config, options.results)
    progress = Progress(config, products.sweeps, products.runs)
    return products, progress, training_jobs(config, products.sweeps)


def _plan(options: argparse.Namespace) -> None:
    """Print what is trained, what is waiting, and what the rest will cost."""
    from reversal_curse.jobs.plan import outlook, plan

    given = {"hardware": options.hardware} if options.hardware else {}
    products, progress, jobs = _progress(options, **given)
    print(plan(progress), *outlook(progress, jobs), *products.notes(), sep="\n")


def _status(options: argparse.Namespace) -> None:
    """Say how far training is: what is trained, in training, waiting and failed."""
    from reversal_curse.jobs.screen import watch

    products, progress, jobs = _progress(options)
    watch(progress, jobs, products.own, options.watch)


def _doctor(options: argparse.Namespace) -> None:
    """Say, on a login node, what would make a sweep fail on this cluster, and what to change."""
    from reversal_curse.doctor import doctor

    config = Config.load(*options.config).executed(submitted=True)
    doctor(Products(config, Path("results")), options.config, options.profile, options.wait)


def _compare(options: argparse.Namespace) -> None:
    """Print what differs: settings, verdicts, and shared grid points seed by seed."""
    from reversal_curse.compare import compare, read_side, show, write_page

    sections = compare(*(read_side(side, options.results) for side in options.sides))
    show(sections)
    if options.page:
        a, b = options.sides
        write_page(sections, f"A: {a}, B: {b}", options.page)


@contextmanager
def _making(products: Products, name: str) -> Generator[list[Path]]:
    """Give the files of a product, and note what it was made from once they are written."""
    source = products.source(name)
    yield products.files(name)
    products.record(name, source)


def _dataset(products: Products, options: argparse.Namespace) -> None:
    """Write the dataset of one task and size."""
    from reversal_curse.tables.dataset import generate_dataset

    settings = _found("dataset", options.name, products.datasets)
    with _making(products, f"data/{options.name}") as (output,):
        frame = generate_dataset(settings)
        write_table(output, frame, TABLES["dataset"])
    print(f"{output}: {frame.height} sentences")


def _found(kind: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise UserError(f"no {kind} {name} in this config; did it change since the workflow began?")
    return known[name]


def _train_job(products: Products, options: argparse.Namespace) -> None:
    """Train the grid points of one job."""
    from reversal_curse.jobs.training_jobs import training_jobs
    from reversal_curse.jobs.worker import train_job

    job = _found("training job", options.name, training_jobs(products.config, products.sweeps))
    points, seconds = list(job.points.values()), 60 * options.checkpoint_minutes
    train_job(points, products.runs, options.report, options.threads, seconds, options.watched)


def _probe_pretrained(products: Products, options: argparse.Namespace) -> None:
    """Measure and fine-tune a pretrained model."""
    models = {model.name: model for model in products.config.pretrained}
    entry = _found("pretrained model", options.name, models)
    from reversal_curse.pretrained.probe import probe_pretrained

    name = f"models/{entry.name}"
    output, seconds = products.path(name).parent, 60 * options.checkpoint_minutes
    checkpoints, source = options.results / "checkpoints/pretrained", products.source(name)
    known = probe_pretrained(entry, output, options.threads, checkpoints, seconds)
    products.record(name, source, **known)


def _gather_pretrained(products: Products, options: argparse.Namespace) -> None:
    """Gather a table over pretrained models."""
    from reversal_curse.tables.aggregate import gather_pretrained

    models = [products.path(f"models/{m.name}").parent for m in products.config.pretrained]
    with _making(products, f"pretrained/{options.name}") as (output,):
        rows = gather_pretrained(models, options.name, output)
    print(f"{output}: {rows} rows")


def _aggregate(products: Products, options: argparse.Namespace) -> None:
    """Gather the metrics, and one row per grid point."""
    from reversal_curse.tables.aggregate import aggregate

    with _making(products, "metrics") as (metrics, points):
        count = aggregate(products.config, products.runs, metrics, points)
    print(f"{metrics}, {points}: {count} grid points")


def _figure(products: Products, options: argparse.Namespace) -> None:
    """Render one figure of a config, to its place among the results or to other files."""
    from reversal_curse.figures.render import draw_figure, save

    config, name, files = products.config, options.name, options.output
    kept = not files and name in config.drawings()
    with _making(products, f"figures/{name}") if kept else nullcontext(files) as outputs:
        save(draw_figure(config, name, products.runs), outputs, config.style)


def _claims(products: Products, options: argparse.Namespace) -> None:
    """Judge the papers' claims."""
    from reversal_curse.claims.ledger import claim_points, write_ledger

    origin = products.origin(claim_points(products.sweeps))
    with _making(products, "claims") as files:
        judged = write_ledger(products.config, products.runs, origin, *files)
    evidence = judged.filter(kind="evidence")
    for verdict, count in evidence.group_by("verdict", maintain_order=True).len().iter_rows():
        print(f"{count:3} {verdict}")


def _page(products: Products, options: argparse.Namespace) -> None:
    """Write the page of results, and draw the overview of the claims."""
    from reversal_curse.page.build import draw_overview, write_page

    with _making(products, f"figures/{OVERVIEW}") as files:
        draw_overview(products.own, files, products.config.style)
    with _making(products, "page") as files:
        write_page(products.config, products.runs, products.origin(products.points), *files)
    print(f"{files[0]}: {files[0].stat().st_size / 1e6:.1f} MB")


def _falsify(products: Products, options: argparse.Namespace) -> None:
    """Permute labels in finished tables: every verdict on evidence must change."""
    from reversal_curse.claims.falsify import falsify

    falsify(products.config, products.runs)


def _confirm(products: Products, options: argparse.Namespace) -> None:
    """Accept runs by other code, if training a sample of them anew gives the same tables."""
    from reversal_curse.jobs.confirm import confirm

    confirm(products.runs, products.points)
