"""Which grid points share a training job, and what they are estimated to cost."""

import json
from pathlib import Path

import pytest

from reversal_curse.config.cost import HARDWARE, seconds
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps
from reversal_curse.config.settings import DEFAULTS, settle
from reversal_curse.families import FAMILIES
from reversal_curse.jobs.training_jobs import Job, training_jobs
from reversal_curse.tasks import TASKS
from small_runs import dataset_of, small_settings

DEFAULTS_HERE = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "epochs": 20}
SWEEPS = {
    "vocab": {"vocab_size": [20, 24, 28, 32]},
    "base": {"points": [{"family": "gpt"}, {"family": "bilinear"}]},
}


def jobs_of(sweeps: dict, minutes: float, **defaults) -> dict[str, Job]:
    raw = {"defaults": DEFAULTS_HERE | defaults, "sweeps": sweeps, "job_minutes": minutes}
    config = Config.parse(raw).executed(submitted=False)
    return training_jobs(config, read_sweeps(config))


@pytest.mark.parametrize("minutes", [0, 0.01, 1, 1e9])
def test_every_grid_point_is_in_exactly_one_job(minutes):
    found = [directory for job in jobs_of(SWEEPS, minutes).values() for directory in job.points]
    assert len(found) == len(set(found)) == 5


def test_points_of_different_families_or_sweeps_are_in_different_jobs():
    found = jobs_of(SWEEPS, 1e9).values()
    assert {(job.family, job.sweeps): len(job.points) for job in found} == {
        ("gpt", ("vocab", "base")): 1,
        ("gpt", ("vocab",)): 3,
        ("bilinear", ("base",)): 1,
    }


def test_a_job_is_closed_once_it_takes_long_enough_and_with_zero_minutes_points_are_alone():
    many = {"many": {"vocab_size": {"range": [20, 79]}}}
    found = list(jobs_of(many, 10 / 60).values())
    assert 2 < len(found) < 60
    for job in found[:-1]:
        costs = [seconds(settings, "cpu") for settings in job.points.values()]
        assert sum(costs[:-1]) < 10 <= sum(costs) == pytest.approx(job.seconds)
    assert len(jobs_of(many, 0)) == 60


def test_names_depend_on_the_points_alone():
    first = jobs_of(SWEEPS, 1)
    assert list(first) == list(jobs_of(SWEEPS, 1)) == list(jobs_of(SWEEPS, 1, epochs=20))
    assert not first.keys() & jobs_of(SWEEPS, 1, epochs=21).keys()


@pytest.mark.parametrize("entity_length", [1, 2, 3])
@pytest.mark.parametrize("vocab_size", [16, 20, 50, 801])
@pytest.mark.parametrize("task", TASKS)
def test_a_task_counts_the_sentences_that_it_generates(task, vocab_size, entity_length):
    size = {"vocab_size": vocab_size, "entity_length": entity_length}
    settings = small_settings(task=task, **size, distance=2, train_facts=9, seeds=1)
    dataset = dataset_of(settings)
    assert TASKS[task].sentences(settings) == dataset.table.filter(split="train").height
    assert TASKS[task].length(settings) == dataset.length


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("family", FAMILIES)
def test_twice_the_epochs_cost_about_twice_as_much(family, hardware):
    once, twice = (
        seconds(small_settings(family=family, epochs=n), hardware) - HARDWARE[hardware].start
        for n in (100, 200)
    )
    assert twice == pytest.approx(2 * once)


def test_estimates_are_within_a_factor_of_1_5_for_nine_runs_in_ten():
    """The runs are those of the default sweep, two at a time: see `benchmarks/calibrate.py`."""
    recorded = json.loads((Path(__file__).parent / "measured_runs.json").read_text())
    ratios = [
        seconds(settle(DEFAULTS | run["settings"]), recorded["hardware"]) / run["seconds"]
        for run in recorded["runs"]
    ]
    assert len(ratios) > 90
    assert sum(1 / 1.5 <= ratio <= 1.5 for ratio in ratios) >= 0.9 * len(ratios)
