"""What a person sees of a call: progress, causes, results, and never more than a screen."""

import os
import re
import signal
from dataclasses import replace

import pytest

from processes import output_of, wait_for
from reversal_curse.cli import main
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps

from .conftest import TINY_POINTS
from .test_run import write_dataset

LINES = 24


@pytest.fixture
def shown(workflow):
    """A workflow whose output is that of our logger."""
    return replace(workflow, screen=True)


def screen(output: str) -> list[str]:
    """Return the lines of an output, which fits a screen."""
    lines = output.splitlines()
    assert len(lines) <= LINES, output
    return lines


def test_a_dry_run_a_run_and_a_second_call_fit_a_screen_each(shown):
    dry = screen(shown.snakemake("--dry-run"))
    assert any(line.startswith(f"{TINY_POINTS} grid points to train in 3 jobs") for line in dry)
    assert any(line.startswith("5 figures would be made: ") for line in dry)
    first = screen(shown.snakemake())
    ended = next(i for i, line in enumerate(first) if line.startswith("done after "))
    assert f": {TINY_POINTS} grid points trained, 0 were there already; 5 figures" in first[ended]
    assert re.fullmatch(
        r"claims   (\d+ [a-z ]+(, )?)+ \(evidence; .*\): results/claims.md", first[ended + 1]
    )
    assert first[ended + 2] == "figures  5 in results/figures"
    assert not shown.find("progress/*")
    (log,) = (line.split()[1] for line in first if line.startswith("log: "))
    assert "(100%) done" in (shown.directory / log).read_text()
    second = screen(shown.snakemake())
    assert second[-6].endswith(f"everything was there already: {TINY_POINTS} grid points")
    assert second[-5:-1] == first[ended + 1 : -1]
    assert "nothing to be done: everything is there" in shown.snakemake("--dry-run")
    assert "done after" not in shown.snakemake("plan")


def test_a_failing_point_is_one_line_with_its_cause_and_the_rest_is_kept(shown, capsys):
    shown.write_config(sweeps={"vocab": {"vocab_size": [20, 24]}}, job_minutes=9.0)
    results = shown.directory / "results"
    first, second = read_sweeps(Config.load(shown.config_file))["vocab"].points.values()
    write_dataset(results, second, first)
    lines = screen(shown.snakemake("metrics", status=1))
    cause = "t the dataset of task=reversal/vocab_size=24/settings=seeds-2"
    said = [line for line in lines if line.endswith(cause)]
    assert len(said) == 2, "as it happens, and at the end"
    assert said[0].startswith("vocab: V = 24: failed: ")
    assert any(": 1 grid point trained, 0 were there already" in line for line in lines)
    assert any(line.startswith("go on: snakemake --snakefile ") for line in lines)
    assert main(["status", str(shown.config_file), "--results", str(results)]) == 0
    status = capsys.readouterr().out
    assert "1 of 2 grid points trained" in status
    assert cause in status


def test_ctrl_c_says_where_training_stopped_and_how_it_goes_on(shown, tiny, capsys):
    shown.write_config(defaults={**tiny["defaults"], "epochs": 100_000, "eval_every": 50_000})
    process = shown.start("metrics")
    wait_for(lambda: any('"epoch"' in path.read_text() for path in shown.find("progress/*.json")))
    results = str(shown.directory / "results")
    assert main(["status", str(shown.config_file), "--results", results]) == 0
    assert re.search(r"^base +epoch \d+ of 100000, loss \d", capsys.readouterr().out, re.MULTILINE)
    os.killpg(process.pid, signal.SIGINT)
    lines = screen(output_of(process, status=1))
    assert any(re.match(r"stopped after \d+ s: 0 grid points trained", line) for line in lines)
    assert any(line.startswith("base: stopped after epoch ") for line in lines)
    assert any(line.startswith("go on: snakemake ") for line in lines)


@pytest.mark.parametrize("option", ["--list-rules", "--lint", "--unlock"])
def test_what_snakemake_is_asked_for_is_printed(shown, option):
    output = shown.snakemake(option)
    said = {"--list-rules": "train_gpt (", "--lint": "Congratulations", "--unlock": "Unlocked"}
    assert said[option] in output
