"""`reversal-curse` as people call it; `tests/workflow` covers the commands of the rules."""

import json
import re
import subprocess
import sys

import pytest

from reversal_curse.cli import main
from reversal_curse.config.cost import seconds
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps
from reversal_curse.jobs.plan import duration, plan
from reversal_curse.jobs.progress import Progress
from reversal_curse.products import Products
from reversal_curse.tables.run_files import table_files
from small_runs import write_run_record

SIZE = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "seeds": 1, "epochs": 1}
TINY = [f"{name}={value}" for name, value in SIZE.items()]


def finish(results, directory: str, settings, **more) -> None:
    """Write a finished run whose tables are empty files."""
    folder = results / "runs" / directory
    folder.mkdir(parents=True, exist_ok=True)
    for name in table_files(settings):
        (folder / name).touch()
    write_run_record(folder, settings, **{"device": "cuda"} | more)


def test_plan_counts_what_is_trained_and_what_is_waiting(tmp_path, capsys):
    raw = {"sweeps": {"a": {"layers": [1, 2]}, "b": {"layers": [2, 3, 4]}}}
    raw["figures"] = {"reversal_layers": "b"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(raw))
    shared = list(read_sweeps(Config.parse(raw))["a"].points.items())[1]

    def counts() -> dict[str, list[int]]:
        assert main(["plan", str(path), "--results", str(tmp_path)]) == 0
        row = r"^(\w.*?)  +(\d+)  +(\d+)  +(\d+)  "
        rows = re.findall(row, capsys.readouterr().out, re.MULTILINE)
        return {name: list(map(int, counted)) for name, *counted in rows}

    finish(tmp_path, *shared)
    assert counts() == {
        "family gpt": [4, 1, 3],
        "sweep a": [2, 1, 1],
        "reversal_layers": [3, 1, 2],
        "all, each point once": [4, 1, 3],
    }
    finish(tmp_path, *shared, code={"training/loop": "other"})
    assert counts()["family gpt"] == [4, 1, 3]
    path.write_text(json.dumps(raw | {"stale": "retrain"}))
    assert counts()["family gpt"] == [4, 0, 4]


def planned(config: Config, results) -> str:
    products = Products(config, results)
    return plan(Progress(config, products.sweeps, products.runs))


def test_plan_estimates_what_is_left_and_corrects_it_by_what_was_measured(tmp_path):
    raw = {"sweeps": {"a": {"layers": [1, 2]}}, "hardware": "gpu"}
    config = Config.parse(raw).executed(submitted=False)
    (first, settings), (_, other) = read_sweeps(config)["a"].points.items()
    estimate = seconds(other, "gpu")
    total = duration(estimate + seconds(settings, "gpu"))
    assert planned(config, tmp_path).splitlines()[-2].endswith(total)
    took = {"device": "cuda", "wall_seconds": 3 * seconds(settings, "gpu")}
    finish(tmp_path, first, settings, **took)
    text = planned(config, tmp_path)
    assert "corrected by 1 measured run (x 3)" in text
    assert text.splitlines()[-2].endswith(f"1  {duration(3 * estimate):>10}")
    elsewhere = config.model_copy(update={"hardware": "cpu"})
    assert "corrected" not in planned(elsewhere, tmp_path), "the run was measured on other hardware"


def test_plan_counts_probed_models_if_there_are_some(tmp_path):
    raw = {"sweeps": {"a": {}}}
    assert "pretrained" not in planned(Config.parse(raw).executed(False), tmp_path)
    raw["pretrained"] = [{"name": n, "kind": "causal", "path": "x"} for n in ("done", "waiting")]
    (tmp_path / "pretrained/model=done").mkdir(parents=True)
    (tmp_path / "pretrained/model=done/run.json").touch()
    text = planned(Config.parse(raw).executed(False), tmp_path)
    assert "pretrained models: 1 of 2 probed" in text


def test_durations_read_as_people_say_them():
    seconds_and_words = {0: "-", 40: "40 s", 700: "12 min", 12600: "3.5 h", 432000: "120 h"}
    assert {left: duration(left) for left in seconds_and_words} == seconds_and_words


STEP = ["--config", "../config.json"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["plan", "nowhere.yaml"], "nowhere.yaml: cannot be read: No such file"),
        (["train", "layers", "--output", "y"], "layers: must be SETTING=VALUE"),
        (["train", "vocab_siz=3", "--output", "y"], "vocab_siz: unknown key"),
        (["train", *TINY, "--output", "../config.json"], "config.json: must be a directory, got"),
        (["draw", "curves", "nowhere", "--output", "y.pdf"], "nowhere: holds no run"),
        (["dataset", "x", *STEP], "no dataset x in this config"),
        (["train-job", "x", *STEP, "--report", "y"], "no training job x in this config"),
        (["figure", "x", *STEP, "--output", "y.pdf"], "no figure x in this config; it has mine"),
        (["figure", "mine", *STEP, "--output", "y.pdf"], "no finished run of these settings"),
        (["aggregate", *STEP], "no finished run"),
    ],
)
def test_bad_input_gives_one_line_and_nothing_is_written(
    arguments, problem, tmp_path, monkeypatch, capsys
):
    figures = {"mine": {"plot": "curves", "sweep": "a"}}
    (tmp_path / "config.json").write_text(json.dumps({"sweeps": {"a": {}}, "figures": figures}))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "slow"),
    [
        ("import reversal_curse.cli, reversal_curse.jobs.plan", "torch matplotlib"),
        (
            "from reversal_curse.cli import main; main(['train', *sys.argv[1:]])",
            "torch._dynamo pandas matplotlib",
        ),
    ],
    ids=["reading a config", "a short training"],
)
def test_a_short_task_loads_no_slow_package(tmp_path, code, slow):
    code = f"import sys; {code}; print([m for m in '{slow}'.split() if m in sys.modules])"
    command = [sys.executable, "-c", code, *TINY, "--output", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("wrong", ["bake", *(f"train --output y --threads {n}" for n in "x0+")])
def test_unknown_commands_and_wrong_thread_counts_are_refused(capsys, wrong):
    with pytest.raises(SystemExit, match="2"):
        main(wrong.split())
    assert wrong.split()[-1] in capsys.readouterr().err
