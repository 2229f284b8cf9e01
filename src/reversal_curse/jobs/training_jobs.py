"""Training jobs: small grid points share one, so that a sweep does not flood the scheduler."""

from collections.abc import Mapping
from dataclasses import dataclass

from reversal_curse.config.cost import seconds
from reversal_curse.config.digest import digest_of
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, all_points
from reversal_curse.config.settings import Settings
from reversal_curse.families import FAMILIES

MANY = 2000
"""Beyond this number, jobs become longer: each job costs Snakemake some milliseconds."""


@dataclass(frozen=True)
class Job:
    """The grid points of one training job, all of one family."""

    family: str
    points: dict[str, Settings]
    """Settings by run directory (relative)."""
    sweeps: tuple[str, ...]
    """The sweeps that have these grid points."""
    seconds: float
    """Estimated time."""

    @property
    def name(self) -> str:
        """Identify these grid points: `gpt_` and hex digits."""
        return f"{self.family}_{digest_of(list(self.points))}"

    @property
    def memory(self) -> float:
        """Estimate the bytes that all seeds of its largest grid point take where they train."""
        needs = FAMILIES[self.family].memory
        return max(needs(settings) * settings.seeds for settings in self.points.values())


def training_jobs(config: Config, sweeps: Mapping[str, Sweep]) -> dict[str, Job]:
    """Put every grid point of the sweeps into exactly one job; returns jobs by name.

    A job is full once its estimate reaches the config's `job_minutes`, or more if there would be
    far more than MANY jobs; with `job_minutes: 0` each point has its own. Points share a job
    only if they are of one family and in the same sweeps: a figure trains only what it shows.
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
    jobs = []
    for (family, used), points in groups.items():
        part, total, last = {}, 0.0, next(reversed(points))
        for directory, settings in points.items():
            part[directory] = settings
            total += estimates[directory]
            if total >= least or directory == last:
                jobs.append(Job(family, part, used, total))
                part, total = {}, 0.0
    return {job.name: job for job in jobs}
