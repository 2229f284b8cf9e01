"""What three new settings change: tests that `test_new_setting.py` runs on a copy with them."""

import os
from pathlib import Path

import polars as pl
import pytest

from reversal_curse.claims.claim import select
from reversal_curse.claims.ledger import CLAIMS
from reversal_curse.config.errors import ConfigError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps, run_directory
from reversal_curse.config.settings import DEFAULTS, settle
from reversal_curse.tables.files import settings_frame
from reversal_curse.tables.run_files import is_trained

BLOCKS = {
    "truth": {"swish": [False, True]},
    "number": {"label_smoothing": {"log": [0.001, 0.1, 3]}},
    "word": {"schedule": ["constant", "cosine"], "family": ["gpt", "bilinear"]},
    "all": {"swish": [True], "label_smoothing": [0.1, 0.2], "schedule": "linear"},
    "vocab": {"vocab_size": [20, 40]},
}
SWEEPS = read_sweeps(Config.parse({"sweeps": BLOCKS}))
FRAMES = {name: settings_frame(sweep.points, sweep.labels) for name, sweep in SWEEPS.items()}
NEW = ("swish", "label_smoothing", "schedule")


def test_old_paths_stay_and_old_runs_are_not_trained_again():
    old = settle(DEFAULTS)
    run = Path(os.environ["RUNS"]) / run_directory(old)
    assert is_trained(run, old)
    assert not is_trained(run, settle(DEFAULTS | {"swish": True}))


def test_it_can_be_swept_in_lists_and_ranges_and_the_path_spells_it():
    spelt = {name: [run.split("settings=")[1] for run in s.points] for name, s in SWEEPS.items()}
    assert spelt["truth"] == ["default", "swish-true"]
    assert spelt["number"] == [f"label_smoothing-{p}" for p in (0.001, 0.01, 0.1)]
    assert spelt["word"] == 2 * ["default", "schedule-cosine"]
    both = [f"label_smoothing-{p}+schedule-linear+swish-true" for p in (0.1, 0.2)]
    assert spelt["all"] == both


def test_tables_have_its_column_in_its_type_null_if_it_means_nothing():
    types = [FRAMES["all"].schema[name] for name in NEW]
    assert types == [pl.Boolean, pl.Float64, pl.String]
    assert [FRAMES["word"][name].null_count() for name in NEW] == [2, 2, 0]


def test_labels_have_its_own_words_or_its_name():
    assert list(SWEEPS["truth"].labels.values()) == ["no swish", "gated MLP"]
    smoothings = [f"smoothing {p}" for p in (0.001, 0.01, 0.1)]
    assert list(SWEEPS["number"].labels.values()) == smoothings
    words = ["schedule constant", "schedule cosine"]
    names = ("autoregressive", "bilinear")
    assert {*SWEEPS["word"].labels.values()} == {f"{n}, {word}" for n in names for word in words}


def test_claims_on_other_settings_are_not_judged_if_it_varies():
    for name in ("truth", "number", "word"):
        claims = [claim for claim in CLAIMS.values() if not claim.pretrained]
        assert all(select(claim, {"x": SWEEPS[name]}).reason for claim in claims)
    judged = {c.id for c in CLAIMS.values() if select(c, {"x": SWEEPS["vocab"]}).points}
    assert judged == {"reversal_vocab"}


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({"family": "bilinear", "swish": True}, "sweeps.a.swish: True changes nothing"),
        ({"label_smoothing": 1.0}, "sweeps.a.label_smoothing: "),
    ],
)
def test_a_wrong_value_is_one_line(block, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        read_sweeps(Config.parse({"sweeps": {"a": block}}))
    assert "\n" not in str(caught.value)
