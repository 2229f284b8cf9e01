"""What is made from a config: its files, what they are made from, and whether they still are.

Each product has a record of the content of its files and of its source: runs, settings and code.
It is rebuilt only if one of these differs. File times do not matter, nor does Snakemake's own
memory of what it has made.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from reversal_curse.claims.ledger import claim_points
from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import all_points, dataset_directory, own_folder, read_sweeps
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.pretrained import MEASURED
from reversal_curse.config.settings import Settings
from reversal_curse.page import TEMPLATE
from reversal_curse.pretrained.facts import facts_version
from reversal_curse.tables.provenance import (
    code_of,
    code_of_probe,
    code_of_task,
    differences,
    versions,
)
from reversal_curse.tables.record import damaged_file, digest_of_file, read_record, write_record
from reversal_curse.tables.run_files import RECORD, Runs, mixtures, some

FATES = {
    "keep": "Runs by other code are kept; `stale: retrain` or `refuse` in the config decides.",
    "retrain": "Runs by other code are trained again (stale: retrain).",
    "refuse": "Runs by other code are refused (stale: refuse); allowed: keep, retrain, or accept "
    "them with `reversal-curse confirm`.",
}
OVERVIEW = "claims_overview"
"""The figure of the ledger, which the page draws."""
LIBRARIES_OF = {"figures": ("matplotlib", "polars"), "page": ("jinja2", "vl-convert-python")}
"""Libraries that decide what a product looks like."""


class Products:
    """The products of a config below a results folder.

    They are called `data/DIRECTORY`, `models/NAME` (pretrained), `pretrained/TABLE`, `metrics`,
    `figures/NAME`, `claims` and `page`.
    """

    def __init__(self, config: Config, results: Path):
        self.config, self.results = config, results
        self.sweeps = read_sweeps(config)
        self.points = all_points(self.sweeps)
        self.runs = Runs(results, config.stale)
        self.own = own_folder(config, results)

    @cached_property
    def datasets(self) -> dict[str, Any]:
        """The settings of each dataset, by its directory below `results/data`."""
        return {dataset_directory(settings): settings for settings in self.points.values()}

    def files(self, name: str) -> list[Path]:
        """List the files of a product, which lie in one folder."""
        kind, _, rest = name.partition("/")
        match kind:
            case "data":
                return [self.results / "data" / rest / "dataset.parquet"]
            case "models":
                folder = self.results / f"pretrained/model={rest}"
                return [folder / f"{table}.parquet" for table in MEASURED]
            case "pretrained":
                return [self.own / f"pretrained/{rest}.parquet"]
            case "figures":
                # The page shows SVG, whatever else is asked for.
                formats = dict.fromkeys([*self.config.style.formats, "svg", "csv"])
                return [self.own / f"figures/{rest}.{suffix}" for suffix in formats]
            case "claims":
                return [self.own / "claims.md", self.own / "claims.parquet"]
            case "page":
                return [self.own / "index.html", self.own / "ledger.html"]
        return [self.own / "metrics.parquet", self.own / "points.parquet"]

    def path(self, name: str) -> Path:
        """Return the path of a product's record."""
        if name.startswith("models/"):
            return self.files(name)[0].with_name(RECORD)
        return (self.results if name.startswith("data/") else self.own) / f"made/{name}.json"

    def source(self, name: str) -> str:
        """Identify all that a product is made from; its runs must be trained."""
        kind, _, rest = name.partition("/")
        match kind:
            case "data":
                settings = self.datasets[rest]
                data = [rest, settings.seeds, code_of_task(settings.task)]
                return digest_of(data)
            case "models":
                entry = self.model(rest)
                return digest_of([entry.model_dump(exclude_unset=True), facts_version(entry.facts)])
            case "pretrained":
                models = [self.path(f"models/{model.name}") for model in self.config.pretrained]
                return digest_of([code_of("tables/aggregate"), *map(_identity, models)])
            case "figures" if rest == OVERVIEW:
                code = code_of(f"figures/{OVERVIEW}", "figures/render", "claims/ledger")
                look = self.config.style.model_dump()
                return digest_of([code, look, _identity(self.path("claims"))])
            case "figures":
                figure = self.config.drawings()[rest]
                code = code_of("figures/render", f"figures/{PLOTS[figure.plot].module}")
                look = self.config.style_of(figure).model_dump()
                seen: list[Any] = [figure.plot, code, look]
                if figure.sweep:
                    sweep = self.sweeps[figure.sweep]
                    return digest_of([*seen, list(sweep.labels.items()), self._runs(sweep.points)])
                return digest_of([*seen, *self._tables(PLOTS[figure.plot].tables)])
            case "claims":
                judged = self._runs(claim_points(self.sweeps), "commit")
                origin = self.origin(claim_points(self.sweeps))
                tables = self._tables(MEASURED) if self.config.pretrained else []
                code = code_of("claims/ledger")
                return digest_of([self.config.digest, code, judged, tables, origin])
            case "page":
                parts = [*self.config.drawings(), OVERVIEW]
                shown = ["claims", "metrics", *(f"figures/{name}" for name in parts)]
                code = [code_of("page/build"), digest_of_file(TEMPLATE)]
                records = [_identity(self.path(product)) for product in shown]
                return digest_of([self.config.given(), code, records, self.origin(self.points)])
        given = [code_of("tables/aggregate"), self.config.settings_given()]
        return digest_of([*given, self._runs(self.points, "digest")])

    def model(self, name: str) -> Any:
        return next(model for model in self.config.pretrained if model.name == name)

    def _runs(self, runs: Iterable[str], *shown: str) -> list[Any]:
        """Identify runs by their tables, and by what else of their records is shown."""
        states = {run: self.runs.state(run, self.points[run]) for run in runs}
        kept = ("files", *shown)
        return [
            [run, state.stale, [(state.record or {}).get(name) for name in kept]]
            for run, state in states.items()
        ]

    def _tables(self, tables: Iterable[str]) -> list[Any]:
        names = [table.removeprefix("pretrained_") for table in tables]
        return [_identity(self.path(f"pretrained/{table}")) for table in names]

    def record(self, name: str, source: str, **known: Any) -> None:
        """Note what the files of a product were made from, now that they are written.

        `source` is what it was before they were made: facts or code may have changed since.
        """
        libraries = versions(LIBRARIES_OF.get(name.partition("/")[0], ()))
        content = {"source": source, "libraries": libraries, **known}
        write_record(self.path(name), content, self.files(name))

    def problem(self, name: str) -> str:
        """Say why a product must be made again; empty if it need not."""
        path, files = self.path(name), self.files(name)
        try:
            record = read_record(path)
        except UserError as error:
            return str(error)
        if record is None:
            return f"{files[0]}: no record of what it was made from"
        damage = damaged_file(path, record, files[0].parent)
        if damage:
            return f"{files[0].parent}/{damage}"
        if record["source"] != self.source(name):
            return f"{files[0]}: made from other runs, settings or code"
        # A library that only jobs have says nothing here.
        recorded = record.get("libraries", {})
        if not versions(recorded).items() <= recorded.items():
            return f"{files[0]}: made with other versions of libraries"
        return self._model_problem(name, record) if name.startswith("models/") else ""

    def _model_problem(self, name: str, record: dict[str, Any]) -> str:
        entry = self.model(name.removeprefix("models/"))
        weights = {"files": record["weights"]}
        damage = damaged_file(self.path(name), weights, Path(entry.path)) if entry.path else ""
        if damage and not damage.endswith("is missing"):  # weights may go once they are probed
            return f"{entry.path}: {damage.split()[0]} has changed since it was probed"
        changed = differences(record["code"], code_of_probe())
        return "by other code" if changed and self.config.stale != "keep" else ""

    def origin(self, points: Mapping[str, Settings]) -> list[str]:
        """Say, a line each, which of these runs are by other code, and what a sweep mixes."""
        other = self.runs.by_other_code(points)
        lines = [other] if other else []
        for name, sweep in self.sweeps.items():
            asked = {run: s for run, s in sweep.points.items() if run in points}
            records = (self.runs.record(run, settings) for run, settings in asked.items())
            lines += mixtures(name, [record for record in records if record])
        return lines

    def notes(self) -> list[str]:
        """Say, a line each, what is odd about the runs, and what becomes of those by other code."""
        lines = [*self.runs.problems(self.points), *self.origin(self.points)]
        models = self.models_by_other_code()
        fate = self.runs.by_other_code(self.points) or models
        return [*lines, *models, *([FATES[self.config.stale]] if fate else [])]

    def models_by_other_code(self) -> list[str]:
        """Say, a line each, which pretrained models were measured by other code."""
        lines = []
        for model in self.config.pretrained:
            path = self.path(f"models/{model.name}")
            with suppress(UserError):  # a damaged one is made again
                record = read_record(path)
                changed = differences(record["code"], code_of_probe()) if record else []
                lines += [f"{path}: by other code: {some(changed)} changed since"] * bool(changed)
        return lines


def _identity(record: Path) -> str | None:
    """Return the digest of a record; None if there is none, or a damaged one."""
    with suppress(UserError):
        content = read_record(record)
        return content["digest"] if content else None
    return None
