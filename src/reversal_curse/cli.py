"""`python -m reversal_curse VERB`: the same steps that the Snakemake rules call.

A `UserError` becomes one line and exit status 1; anything else is a defect of ours and
keeps its traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pydantic import BaseModel, ValidationError

from reversal_curse.config import Config
from reversal_curse.cost import HARDWARE
from reversal_curse.errors import UserError
from reversal_curse.pretrained.entry import MEASURED, PretrainedModel
from reversal_curse.registry import ALL_FIGURES
from reversal_curse.settings import Settings
from reversal_curse.sweep import canonical, check_figures, check_trainable
from reversal_curse.tables import RUN_TABLES, TABLES, write_table


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
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
    parser = argparse.ArgumentParser(prog="python -m reversal_curse", description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = _verb(verbs, "dataset", _dataset, "write the sentences of one task and size")
    verb.add_argument("--settings", required=True, help="JSON: task, vocab_size, seeds, ...")
    verb.add_argument("--output", type=Path, required=True, help="Parquet file to write")

    verb = _verb(verbs, "train", _train, "train all seeds of one grid point")
    verb.add_argument(
        "--settings", required=True, help="JSON: settings that differ from the paper's"
    )
    verb.add_argument("--dataset", type=Path, required=True, help="Parquet file of the sentences")
    verb.add_argument("--output", type=Path, required=True, help="directory for the run's tables")
    verb.add_argument("--threads", type=_positive, default=1, help="CPU threads")
    verb.add_argument("--checkpoints", type=Path, help="directory to keep what was reached in")
    verb.add_argument(
        "--checkpoint-minutes", type=_minutes, default=10.0, help="time between two checkpoints"
    )

    verb = _verb(verbs, "train-pack", _train_pack, "train several grid points, one after another")
    verb.add_argument("--points", required=True, help="JSON: a list of settings")
    verb.add_argument("--data", type=Path, required=True, help="directory of the datasets")
    verb.add_argument("--trained", type=Path, required=True, help="directory for finished runs")
    verb.add_argument("--checkpoints", type=Path, required=True)
    verb.add_argument("--logs", type=Path, required=True, help="directory for their logs")
    verb.add_argument("--report", type=Path, required=True, help="JSON file: what became of each")
    verb.add_argument("--threads", type=_positive, default=1, help="CPU threads")
    verb.add_argument("--checkpoint-minutes", type=_minutes, default=10.0)
    verb.add_argument(
        "--attempts-left", type=int, default=0, help="0: write the report even if a point failed"
    )

    verb = _verb(
        verbs, "probe-pretrained", _probe_pretrained, "measure and fine-tune a pretrained model"
    )
    verb.add_argument("--entry", required=True, help="JSON: an entry of the config's `pretrained`")
    verb.add_argument("--output", type=Path, required=True, help="directory for its tables")
    verb.add_argument("--threads", type=_positive, default=1, help="CPU threads")
    verb.add_argument("--checkpoints", type=Path, help="directory to keep what was reached in")
    verb.add_argument("--checkpoint-minutes", type=_minutes, default=10.0)

    verb = _verb(
        verbs, "gather-pretrained", _gather_pretrained, "gather a table over pretrained models"
    )
    verb.add_argument("--table", choices=MEASURED, required=True)
    verb.add_argument("--models", type=Path, nargs="+", required=True, help="their directories")
    verb.add_argument("--output", type=Path, required=True, help="Parquet file to write")

    verb = _verb(verbs, "aggregate", _aggregate, "gather a table over the grid points of a config")
    verb.add_argument("--config", required=True, help="YAML file, or the config itself as JSON")
    verb.add_argument("--table", choices=RUN_TABLES, required=True)
    verb.add_argument("--runs", type=Path, required=True, help="directory of the runs")
    verb.add_argument("--output", type=Path, required=True, help="Parquet file to write")

    verb = _verb(verbs, "figure", _figure, "render one figure from aggregated tables")
    verb.add_argument("name", choices=ALL_FIGURES, metavar="NAME", help=", ".join(ALL_FIGURES))
    verb.add_argument(
        "--tables", type=Path, nargs="+", required=True, help="as the figure lists them"
    )
    verb.add_argument("--output", type=Path, nargs="+", required=True, help="files, .pdf or .png")
    verb.add_argument("--variants", default="{}", help="JSON: how it calls the sweep's variants")

    verb = _verb(verbs, "claims", _claims, "judge the papers' claims on aggregated tables")
    verb.add_argument("--config", required=True, help="YAML file, or the config itself as JSON")
    verb.add_argument("--results", type=Path, required=True, help="directory of all results")
    verb.add_argument("--table", type=Path, required=True, help="Parquet file to write")
    verb.add_argument("--page", type=Path, required=True, help="Markdown file to write")

    verb = _verb(verbs, "plan", _plan, "print what is trained, what is waiting and its cost")
    verb.add_argument("--config", required=True, help="YAML file, or the config itself as JSON")
    verb.add_argument("--runs", type=Path, required=True, help="directory of the runs")
    verb.add_argument("--hardware", choices=HARDWARE, help="in place of the config's")
    verb.add_argument(
        "--pretrained",
        type=Path,
        default=Path("results/pretrained"),
        help="directory of the probed pretrained models",
    )

    verb = _verb(verbs, "docs", _docs, "regenerate the schema and the tables of the READMEs")
    verb.add_argument("--root", type=Path, default=Path(), help="root of the checkout")
    return parser


def _verb(verbs, name: str, run, text: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(run=run)
    return verb


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


def _config(text: str) -> Config:
    if text.lstrip().startswith("{"):
        try:
            return Config.parse(json.loads(text))
        except json.JSONDecodeError as error:
            raise UserError(f"--config: no JSON: {error}") from None
    return Config.load(Path(text))


def _dataset(options: argparse.Namespace) -> None:
    from reversal_curse.tasks.dataset import generate_dataset

    frame = generate_dataset(_settings(options.settings, "--settings"))
    write_table(options.output, frame, TABLES["dataset"])
    print(f"{options.output}: {frame.height} sentences")


def _train(options: argparse.Namespace) -> None:
    settings = _settings(options.settings, "--settings")
    from reversal_curse.training.run import run_grid_point

    run_grid_point(
        settings,
        options.dataset,
        options.output,
        options.threads,
        options.checkpoints,
        60 * options.checkpoint_minutes,
    )


def _train_pack(options: argparse.Namespace) -> None:
    from reversal_curse.training.pack import Place, train_pack

    try:
        given = json.loads(options.points)
    except json.JSONDecodeError as error:
        raise UserError(f"--points: no JSON: {error}") from None
    if not isinstance(given, list):
        raise UserError("--points: no list")
    train_pack(
        [_settings(json.dumps(point), f"--points[{i}]") for i, point in enumerate(given)],
        Place(options.data, options.trained, options.checkpoints, options.logs),
        options.report,
        options.threads,
        60 * options.checkpoint_minutes,
        last_attempt=options.attempts_left <= 0,
    )


def _probe_pretrained(options: argparse.Namespace) -> None:
    try:
        entry = PretrainedModel.model_validate_json(options.entry)
    except ValidationError as error:
        raise UserError(f"--entry: {_problem(error, PretrainedModel)}") from None
    entry.check("--entry")
    from reversal_curse.pretrained.probe import probe_pretrained

    seconds = 60 * options.checkpoint_minutes
    probe_pretrained(entry, options.output, options.threads, options.checkpoints, seconds)


def _gather_pretrained(options: argparse.Namespace) -> None:
    from reversal_curse.pretrained.gather import gather

    rows = gather(options.models, options.table, options.output)
    print(f"{options.output}: {rows} rows")


def _problem(error: ValidationError, model: type[BaseModel]) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"])) or "(top level)"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; allowed: {', '.join(model.model_fields)}"
    return f"{where}: {problem['msg']}"


def _settings(text: str, where: str) -> Settings:
    """Checked settings from JSON, with what the family lacks at its canonical value."""
    try:
        settings = Settings.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{where}: {_problem(error, Settings)}") from None
    settings = canonical(settings.model_dump())
    check_trainable(settings, where)
    return settings


def _aggregate(options: argparse.Namespace) -> None:
    from reversal_curse.aggregate import aggregate

    runs = aggregate(_config(options.config), options.table, options.runs, options.output)
    print(f"{options.output}: {runs} runs")


def _figure(options: argparse.Namespace) -> None:
    from reversal_curse.figures.render import render

    render(options.name, options.tables, options.output, _labels(options.variants))


def _labels(text: str) -> dict[str, str]:
    try:
        labels = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--variants: no JSON: {error}") from None
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise UserError(f"--variants: {text} is refused; allowed: names to texts")
    return labels


def _claims(options: argparse.Namespace) -> None:
    from reversal_curse.claims.ledger import write_ledger

    table = write_ledger(_config(options.config), options.results, options.table, options.page)
    for verdict, count in table.group_by("verdict", maintain_order=True).len().iter_rows():
        print(f"{count:3} {verdict}")


def _plan(options: argparse.Namespace) -> None:
    from reversal_curse.plan import plan

    config = _config(options.config)
    check_figures(config)
    print(plan(config, options.runs, options.hardware or config.hardware, options.pretrained))


def _docs(options: argparse.Namespace) -> None:
    from reversal_curse.docs import write_docs

    for path in write_docs(options.root):
        print(path)
