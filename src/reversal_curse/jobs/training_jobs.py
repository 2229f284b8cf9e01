"""Training jobs: small grid points share one, so that a sweep does not flood the scheduler."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reversal_curse.config.cost import seconds
from reversal_curse.config.digest import digest_of
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, all_points
from reversal_curse.config.settings import Settings
from reversal_curse.tables.provenance import DATA_VERSION, TRAINING_VERSION

MANY = 2000
"""Jobs in a sweep from which on they become longer: each costs Snakemake some milliseconds."""


@dataclass(frozen=True)
class Job:
    """The grid points of one training job, all of one family."""

    family: str
    points: dict[str, Settings]
    """Run directory (relative) to settings."""
    sweeps: tuple[str, ...]
    """The sweeps that have these grid points."""
    seconds: float
    """Estimated time."""

    @property
    def name(self) -> str:
        """Stands for these grid points and the current training code: `gpt_` and hex digits."""
        return f"{self.family}_{digest_of([*self.points, DATA_VERSION, TRAINING_VERSION])}"


def training_jobs(config: Config, sweeps: Mapping[str, Sweep]) -> dict[str, Job]:
    """Every grid point of the sweeps in exactly one job, by name.

    A job is closed once its estimate reaches the config's `job_minutes`, or a part of the whole
    that keeps their number near MANY; with `job_minutes` 0 each grid point has its own. Only points
    of the same family and the same sweeps share one: a figure trains nothing that it does not show.
    """
    groups: dict[tuple, dict[str, Settings]] = {}
    every = all_points(sweeps)
    for directory, settings in every.items():
        used = tuple(name for name in sweeps if directory in sweeps[name].points)
        groups.setdefault((settings.family, used), {})[directory] = settings
    estimates = {run: seconds(settings, config.hardware) for run, settings in every.items()}
    least = 60 * config.job_minutes
    if least:
        least = max(least, sum(estimates.values()) / MANY)
    found = {}
    for (family, used), points in groups.items():
        for part in _filled(points, estimates, least):
            job = Job(family, part, used, sum(estimates[directory] for directory in part))
            found[job.name] = job
    return found


def _filled(
    points: dict[str, Settings], estimates: Mapping[str, float], least: float
) -> Iterator[dict[str, Settings]]:
    """Grid points in parts, each closed once its estimate reaches `least` seconds."""
    part: dict[str, Settings] = {}
    total = 0.0
    for directory, settings in points.items():
        part[directory] = settings
        total += estimates[directory]
        if total >= least:
            yield part
            part, total = {}, 0.0
    if part:
        yield part
