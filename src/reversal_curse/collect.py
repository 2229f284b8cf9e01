"""Put a finished run where tables are read: `python -m reversal_curse.collect`.

Snakemake calls it for every grid point, where Snakemake itself runs, so it loads next to
nothing. Files are linked, not copied, where the file system can.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from reversal_curse.atomic import replacing

TRAINED = "trained"
AGAIN = ".again"


def main(arguments: list[str] | None = None) -> int:
    """Link the files of a run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, required=True, help="directory of finished runs")
    parser.add_argument("--runs", type=Path, required=True, help="directory to put it in")
    parser.add_argument("--tables", nargs="+", required=True, help="tables that it has")
    parser.add_argument("--logs", type=Path, required=True, help="directory of training logs")
    parser.add_argument("--point", required=True, help="run directory, relative")
    parser.add_argument("--report", type=Path, nargs="?", help="what became of its training job")
    options = parser.parse_args(arguments)
    outcome = _outcome(options.report, options.point) if options.report else TRAINED
    source, target = options.trained / options.point, options.runs / options.point
    names = [*(f"{table}.parquet" for table in options.tables), "run.json"]
    if outcome == TRAINED and all((source / name).exists() for name in names):
        for name in names:
            _link(source / name, target / name)
        if options.report:
            _forget_older(options.report.with_suffix(AGAIN), options.report)
        return 0
    if options.report:
        # An input of the training job that is newer than its report: the next call trains again.
        options.report.with_suffix(AGAIN).touch()
    # Snakemake removes the tables; run.json says that there is a run.
    (target / "run.json").unlink(missing_ok=True)
    log = options.logs / f"{options.point}.log"
    if log.exists():
        print("\n".join(log.read_text(encoding="utf-8").splitlines()[-20:]))
    reason = "its files are missing" if outcome == TRAINED else outcome
    print(f"{options.point}: {reason}; the same command tries it again", file=sys.stderr)
    return 1


def _outcome(report: Path, point: str) -> str:
    """What became of a grid point in its training job."""
    try:
        return json.loads(report.read_text(encoding="utf-8"))[point]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{report} says nothing of it"


def _forget_older(path: Path, report: Path) -> None:
    """Remove a call for another try that was answered."""
    with suppress(FileNotFoundError):
        if path.stat().st_mtime_ns < report.stat().st_mtime_ns:
            path.unlink()


def _link(source: Path, path: Path) -> None:
    with replacing(path) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copy2(source, partial)


if __name__ == "__main__":
    sys.exit(main())
