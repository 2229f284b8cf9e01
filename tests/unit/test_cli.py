"""`python -m reversal_curse`: the steps by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import polars as pl
import pytest

from reversal_curse.cli import main
from reversal_curse.config import Config
from reversal_curse.cost import seconds
from reversal_curse.plan import duration, plan
from reversal_curse.registry import run_tables
from reversal_curse.runs import run_files
from reversal_curse.sweep import grid_points
from reversal_curse.versions import DATA_VERSION, TRAINING_VERSION


def test_a_grid_point_by_hand_from_sentences_to_a_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "defaults": {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "seeds": 2}
        | {"epochs": 4, "eval_every": 2},
        "sweeps": [{"name": "a"}],
    }
    settings = {**config["defaults"]}
    assert main(["dataset", "--settings", json.dumps(settings), "--output", "dataset.parquet"]) == 0

    (directory,) = grid_points(Config.parse(config))
    train = ["train", "--settings", json.dumps(settings), "--dataset", "dataset.parquet"]
    assert main([*train, "--output", f"runs/{directory}"]) == 0
    gather = ["aggregate", "--config", json.dumps(config), "--table", "metrics", "--runs", "runs"]
    assert main([*gather, "--output", "metrics.parquet"]) == 0
    assert pl.read_parquet("metrics.parquet").height == 2 * 3 * 2
    figure = ["figure", "reversal_curve", "--tables", "metrics.parquet", "--output"]
    assert main([*figure, "curve.pdf", "curve.png"]) == 0
    assert (tmp_path / "curve.png").stat().st_size > 1000


@pytest.mark.parametrize("labels", ["{", "[]", '{"frozen": 1}'])
def test_labels_that_are_no_names_and_texts_are_refused(tmp_path, capsys, labels):
    command = ["figure", "reversal_curve", "--tables", "x", "--output", str(tmp_path / "a.pdf")]
    assert main([*command, "--variants", labels]) == 1
    assert capsys.readouterr().err.startswith("--variants: ")
    assert not list(tmp_path.iterdir())


def test_plan_counts_what_is_trained_and_what_is_waiting(tmp_path, capsys):
    config = {"sweeps": [{"name": "a", "layers": [1, 2]}, {"name": "b", "layers": [2, 3, 4]}]}
    done = next(path for path in grid_points(Config.parse(config)) if "layers=2/" in path)
    for name in (*(f"{table}.parquet" for table in run_tables("gpt")), "run.json"):
        (tmp_path / done / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / done / name).touch()
    versions = {"data": DATA_VERSION, "training": TRAINING_VERSION}
    (tmp_path / done / "run.json").write_text(json.dumps({"versions": versions}))
    counts = counts_of_plan(config, tmp_path, capsys)
    assert counts == {
        "family gpt": [4, 1, 3],
        "sweep a": [2, 1, 1],
        "sweep b": [3, 1, 2],
        "all, each point once": [4, 1, 3],
    }
    versions["training"] += 1
    (tmp_path / done / "run.json").write_text(json.dumps({"versions": versions}))
    assert counts_of_plan(config, tmp_path, capsys)["family gpt"] == [4, 0, 4]


def counts_of_plan(config, runs, capsys) -> dict[str, list[int]]:
    assert main(["plan", "--config", json.dumps(config), "--runs", str(runs)]) == 0
    rows = re.findall(r"^(\w.*?)  +(\d+)  +(\d+)  +(\d+)  ", capsys.readouterr().out, re.MULTILINE)
    return {name: list(map(int, counts)) for name, *counts in rows}


def test_plan_estimates_what_is_left_and_corrects_it_by_what_was_measured(tmp_path, capsys):
    config = Config.parse({"sweeps": [{"name": "a", "layers": [1, 2]}], "figures": {}})
    (first, settings), (_, other) = grid_points(config).items()
    estimate = seconds(other, "gpu")
    total = estimate + seconds(settings, "gpu")
    assert plan(config, tmp_path, "gpu", tmp_path).splitlines()[-2].endswith(duration(total))
    assert "by estimate" in plan(config, tmp_path, "gpu", tmp_path)
    for name in run_files(settings):
        (tmp_path / first / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / first / name).touch()
    record = {
        "versions": {"data": DATA_VERSION, "training": TRAINING_VERSION},
        "device": "cuda",
        "wall_seconds": 3 * seconds(settings, "gpu"),
    }
    (tmp_path / first / "run.json").write_text(json.dumps(record))
    text = plan(config, tmp_path, "gpu", tmp_path)
    assert "corrected by 1 measured run (x 3)" in text
    assert text.splitlines()[-2].endswith(f"1  {duration(3 * estimate):>10}")
    elsewhere = plan(config, tmp_path, "cpu", tmp_path)  # measured on another kind of hardware
    assert "corrected" not in elsewhere
    record["wall_seconds"] = "long"
    (tmp_path / first / "run.json").write_text(json.dumps(record))
    assert "corrected" not in plan(config, tmp_path, "gpu", tmp_path)


def test_plan_counts_probed_models_only_where_there_are_some(tmp_path):
    config = {"sweeps": [{"name": "a"}], "figures": {}}
    assert "pretrained" not in plan(Config.parse(config), tmp_path, "gpu", tmp_path)
    config["pretrained"] = [
        {"name": name, "kind": "causal", "path": "x"} for name in ("probed", "waiting")
    ]
    (tmp_path / "model=probed").mkdir()
    (tmp_path / "model=probed/run.json").touch()
    text = plan(Config.parse(config), tmp_path, "gpu", tmp_path)
    assert "pretrained models: 1 of 2 probed" in text


def test_durations_read_as_a_person_says_them():
    seconds_and_words = {0: "-", 40: "40 s", 700: "12 min", 12600: "3.5 h", 432000: "120 h"}
    assert {left: duration(left) for left in seconds_and_words} == seconds_and_words


CHAIN_OF_REVERSAL = '{"sweeps": [{"name": "a"}], "figures": {"chain_curve": "a"}}'


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["plan", "--config", "nowhere.yaml", "--runs", "x"], "nowhere.yaml: No such file"),
        (["plan", "--config", '{"sweep": 1}', "--runs", "x"], "sweep: unknown key"),
        (["plan", "--config", '{"sweep', "--runs", "x"], "--config: no JSON"),
        (
            ["plan", "--runs", "x", "--config", CHAIN_OF_REVERSAL],
            "figures.chain_curve: sweep a has task reversal",
        ),
        (
            ["train", "--settings", '{"layers": 0}', "--dataset", "x", "--output", "y"],
            "--settings: layers",
        ),
        (
            ["train", "--settings", "{", "--dataset", "x", "--output", "y"],
            "--settings: (top level)",
        ),
        (
            ["train", "--settings", '{"heads": 5}', "--dataset", "x", "--output", "y"],
            "heads that divide embed_dim",
        ),
        (
            ["train", "--settings", "{}", "--dataset", "nowhere", "--output", "y"],
            "nowhere: no such file",
        ),
        (
            ["train", "--settings", '{"vocab_siz": 3}', "--dataset", "x", "--output", "y"],
            "--settings: vocab_siz: unknown key; allowed: task, family,",
        ),
        (
            ["dataset", "--settings", '{"vocab_size": 4}', "--output", "y"],
            "vocab_size 4 is too small",
        ),
        (
            ["dataset", "--settings", '{"entity_length": 4}', "--output", "y"],
            "less than or equal to 3",
        ),
        (
            ["dataset", "--settings", '{"task": "chain", "family": "bilinear"}', "--output", "y"],
            "family bilinear with task chain",
        ),
        (
            ["figure", "reversal_curve", "--tables", "nowhere", "--output", "y.pdf"],
            "nowhere: no such file",
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments, problem, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_command_line_reads_configs_without_loading_torch():
    """A workflow of thousands of points is parsed often; torch alone takes seconds to load."""
    code = (
        "import sys, reversal_curse.cli, reversal_curse.sweep, reversal_curse.plan;"
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_short_training_loads_neither_a_compiler_nor_pandas(tmp_path):
    """They take longer to load than such a run trains."""
    settings = {"layers": 1, "heads": 1, "embed_dim": 4, "vocab_size": 20, "seeds": 1, "epochs": 1}
    dataset, given = str(tmp_path / "dataset.parquet"), json.dumps(settings)
    assert main(["dataset", "--settings", given, "--output", dataset]) == 0
    code = (
        "import sys; from reversal_curse.cli import main; status = main(sys.argv[1:]);"
        "print(status, [m for m in ('torch._dynamo', 'pandas') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "train", "--settings", given, "--dataset", dataset]
    command += ["--output", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("threads", ["x", "0", "1.5"])
def test_threads_that_are_no_count_are_refused(capsys, threads):
    with pytest.raises(SystemExit) as caught:
        main(["train", "--settings", "{}", "--dataset", "x", "--output", "y", "--threads", threads])
    assert caught.value.code == 2
    assert f"{threads} is refused; allowed: a whole number from 1 on" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused_before_training(tmp_path, capsys):
    settings = {"layers": 1, "heads": 1, "embed_dim": 4, "vocab_size": 20, "seeds": 1, "epochs": 1}
    dataset, given = str(tmp_path / "dataset.parquet"), json.dumps(settings)
    assert main(["dataset", "--settings", given, "--output", dataset]) == 0
    capsys.readouterr()
    assert main(["train", "--settings", given, "--dataset", dataset, "--output", dataset]) == 1
    shown = capsys.readouterr()
    assert shown.err == f"{dataset}: is no directory\n"
    assert "epoch" not in shown.out


def test_an_unknown_verb_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bake"])
    assert caught.value.code == 2
    assert "bake" in capsys.readouterr().err
