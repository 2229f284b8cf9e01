"""What tests ask about jobs: those that were not there before."""

from __future__ import annotations

import time

from .cluster import Cluster


def known(cluster: Cluster) -> set[str]:
    """Numbers of all jobs so far."""
    return {job["JobId"] for job in cluster.jobs()}


def new_jobs(cluster: Cluster, rule: str, before: set[str]) -> list[dict[str, str]]:
    """Jobs of a rule that are not in `before`, oldest first."""
    jobs = [job for job in cluster.jobs_of(rule) if job["JobId"] not in before]
    return sorted(jobs, key=lambda job: int(job["JobId"]))


def running(cluster: Cluster, before: set[str]) -> list[dict[str, str]]:
    """Training jobs that run now and are not in `before`."""
    return [job for job in new_jobs(cluster, "train", before) if job["JobState"] == "RUNNING"]


def wait_for(condition, seconds: float = 90):
    """The first value of `condition()` that counts as true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found
