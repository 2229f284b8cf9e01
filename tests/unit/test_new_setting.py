"""A new setting is one field: what a developer gets for it, shown in a copy of the package."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from reversal_curse.config.grid import run_directory
from reversal_curse.config.settings import DEFAULTS, settle
from reversal_curse.jobs.versions import PACKAGE
from reversal_curse.tables.provenance import DATA_VERSION, TRAINING_VERSION
from reversal_curse.tables.run_files import run_files

pytestmark = pytest.mark.slow

FIELDS = """
    swish: bool = setting(
        False, "whether the MLP is gated", of="transformer", names={True: "gated MLP"}
    )
    label_smoothing: float = setting(
        0.0, "mass on other tokens", {"ge": 0, "lt": 1}, of="adamw", label="smoothing {}"
    )
    schedule: Literal["constant", "cosine", "linear"] = setting("constant", "of the rate")
"""
BEFORE = "    precision: Literal["
PROGRAM = """
import json, sys
from pathlib import Path
import polars as pl
from reversal_curse.claims.claim import select
from reversal_curse.claims.ledger import CLAIMS
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps, run_directory
from reversal_curse.config.settings import DEFAULTS, settle
from reversal_curse.figures.render import draw
from reversal_curse.tables.run_files import is_trained
from reversal_curse.tables.files import settings_frame
from reversal_curse.tables.schemas import TABLES

sweeps = read_sweeps(Config.parse({"sweeps": {
    "truth": {"swish": [False, True]},
    "number": {"label_smoothing": {"log": [0.001, 0.1, 3]}},
    "word": {"schedule": ["constant", "cosine"], "family": ["gpt", "bilinear"]},
    "all": {"swish": [True], "label_smoothing": [0.1, 0.2], "schedule": "linear"},
    "vocab": {"vocab_size": [20, 40]},
}}))
frames = {name: settings_frame(sweep.points, sweep.labels) for name, sweep in sweeps.items()}
old, NEW = settle(DEFAULTS), ("swish", "label_smoothing", "schedule")

def curves(name):
    rows = [{"run": run, "seed": 0, "epoch": epoch, "split": split, "nll_token": 1.0,
             "nll_word": 1.0, "accuracy": 0.5, "chance_vocab": 3.0, "chance_class": 2.0}
            for run in sweeps[name].points for epoch in (0, 1) for split in ("train", "unseen")]
    figure = draw("curves", {"metrics": pl.DataFrame(rows).join(frames[name], on="run")})
    return [ax.get_title() for ax in figure.axes]

def refusal(raw):
    try:
        read_sweeps(Config.parse(raw))
    except Exception as error:
        return str(error)

print(json.dumps({
    "old path": run_directory(old),
    "old is trained": is_trained(Path(sys.argv[1]), old),
    "new is trained": is_trained(Path(sys.argv[1]), settle(DEFAULTS | {"swish": True})),
    "runs": {name: [run.split("settings=")[1] for run in s.points] for name, s in sweeps.items()},
    "labels": {name: list(sweep.labels.values()) for name, sweep in sweeps.items()},
    "types": {n: str(frames["all"].schema[n]) for n in NEW},
    "nulls": {n: frames["word"][n].null_count() for n in NEW},
    "titles": {name: curves(name) for name in ("truth", "number")},
    "reasons": {name: [select(claim, {"x": sweeps[name]}).reason for claim in CLAIMS.values()
                       if not claim.pretrained] for name in ("truth", "number", "word")},
    "judged": [c.id for c in CLAIMS.values() if select(c, {"x": sweeps["vocab"]}).points],
    "lacking": refusal({"sweeps": {"a": {"family": "bilinear", "swish": True}}}),
    "too large": refusal({"sweeps": {"a": {"label_smoothing": 1.0}}}),
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """Give the package three more settings and ask it, with a finished run that has none."""
    folder = tmp_path_factory.mktemp("developer")
    copy = folder / "reversal_curse"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / "config/settings.py").read_text()
    assert text.count(BEFORE) == 1
    (copy / "config/settings.py").write_text(text.replace(BEFORE, FIELDS.lstrip("\n") + BEFORE))
    run, old = folder / "run", settle(DEFAULTS)
    run.mkdir()
    for name in run_files(old):
        (run / name).touch()
    versions = {"data": DATA_VERSION, "training": TRAINING_VERSION}
    (run / "run.json").write_text(json.dumps({"settings": old.described(), "versions": versions}))
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", PROGRAM, str(run)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_old_paths_stay_and_old_runs_are_not_trained_again(found):
    assert found["old path"] == run_directory(settle(DEFAULTS))
    assert found["old is trained"]
    assert not found["new is trained"]


def test_it_can_be_swept_in_lists_and_ranges_and_the_path_spells_it(found):
    assert found["runs"]["truth"] == ["default", "swish-true"]
    assert found["runs"]["number"] == [f"label_smoothing-{p}" for p in (0.001, 0.01, 0.1)]
    assert found["runs"]["word"] == 2 * ["default", "schedule-cosine"]
    assert found["runs"]["all"] == [
        f"label_smoothing-{p}+schedule-linear+swish-true" for p in (0.1, 0.2)
    ]


def test_tables_have_its_column_in_its_type_null_if_it_means_nothing(found):
    assert list(found["types"].values()) == ["Boolean", "Float64", "String"]
    assert list(found["nulls"].values()) == [2, 2, 0]


def test_plots_say_it_in_words_of_its_own_or_by_its_name(found):
    assert found["titles"]["truth"] == ["no swish", "gated MLP"]
    assert found["titles"]["number"][:3] == ["smoothing 0.001", "smoothing 0.01", "smoothing 0.1"]
    words = ["schedule constant", "schedule cosine"]
    names = ("autoregressive", "bilinear")
    assert set(found["labels"]["word"]) == {f"{n}, {word}" for n in names for word in words}


def test_claims_on_other_settings_are_not_judged_if_it_varies(found):
    for reasons in found["reasons"].values():
        assert all(reasons)
    assert {"reversal_vocab"} == set(found["judged"])


def test_a_wrong_value_is_one_line(found):
    assert "sweeps.a.swish: True changes nothing" in found["lacking"]
    assert "sweeps.a.label_smoothing: " in found["too large"]
    assert all(len(found[case].splitlines()) == 1 for case in ("lacking", "too large"))
