"""Two studies side by side."""

import polars as pl
import pytest
import yaml

from reversal_curse.cli import main
from reversal_curse.compare import Section, compare, read_side
from reversal_curse.config.file import Config
from reversal_curse.config.grid import own_folder
from reversal_curse.tables.aggregate import aggregate
from reversal_curse.tables.files import write_table
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import TABLES

from .synthetic import CHOICE, write_runs

SWEEPS = {"plain": {"vocab_size": [20, 24]}, "tied": {"tie_head": True, "vocab_size": [20, 24, 28]}}


def metrics(point: dict) -> pl.DataFrame:
    """Make losses that weight tying lowers by 1 and a rate of 0.1 by 2, but for 0.1 per seed."""
    rows = []
    for seed in range(3):
        less = point["tie_head"] * (1 + 0.1 * seed) + (point["learning_rate"] == 0.1) * 2
        for split in ("train", "unseen"):
            row = {"seed": seed, "epoch": 5, "split": split, "nll_token": 1.0, "nll_word": 9 - less}
            row |= {"accuracy": 0.0, "chance_vocab": 3.0, "chance_class": 2.0} | CHOICE
            rows.append(row)
    return pl.DataFrame(rows, TABLES["metrics"].schema)


@pytest.fixture
def study(tmp_path):
    """Return a function that writes a config and its results; returns the file of the config."""

    def write(name: str, results: str = "results", **defaults) -> str:
        content = {"name": name, "defaults": {"seeds": 3, "epochs": 5} | defaults, "sweeps": SWEEPS}
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
        config, root = Config.load(file), tmp_path / results
        write_runs(config, root, metrics)
        folder = own_folder(config, root)
        aggregate(config, Runs(root), folder / "metrics.parquet", folder / "points.parquet")
        claims = {"id": "c", "statement": "It holds.", "effect": 0.5, "ci_low": 0.4, "ci_high": 0.6}
        claims["verdict"] = "supported" if defaults else "inconclusive"
        other = {"id": "d", "verdict": "supported" if defaults else "not tested"}
        table = pl.DataFrame([claims, other], TABLES["claims"].schema)
        write_table(folder / "claims.parquet", table, TABLES["claims"])
        return str(file)

    return write


def compared(tmp_path, a: str, b: str) -> dict[str, Section]:
    sides = (read_side(side, tmp_path / "results") for side in (a, b))
    return {section.title: section for section in compare(*sides)}


def test_a_changed_setting_is_named_and_each_shared_point_compared_seed_by_seed(study, tmp_path):
    study("before")
    study("after", learning_rate=0.1)
    found = compared(tmp_path, "before", "after")
    assert found["settings that differ"].rows == [("reversal, gpt", "learning_rate", "0.01", "0.1")]
    rows = found["B - A"].rows
    assert rows[0][:2] == ("V = 20, untied head", "3")
    assert rows[0][-2:] == ("-2 [-2, -2]*", "-2 [-2, -2]*")  # losses
    assert len(rows) == 5
    assert set(rows[0][2:-2]) == {"0"}
    assert found["verdicts that changed"].rows == [
        ("c: It holds.", "inconclusive: 0.5 [0.4, 0.6]", "supported: 0.5 [0.4, 0.6]")
    ]
    assert found["verdicts that changed"].note == "1 claim tested on one side alone."


def test_sweeps_share_the_points_that_differ_in_what_each_holds_constant(study, tmp_path):
    file = study("study")
    found = compared(tmp_path, f"{file}:plain", f"{file}:tied")
    assert sorted(row[1:] for row in found["settings that differ"].rows) == [
        ("tie_head", "False", "True"),
        ("vocab_size", "20, 24", "20, 24, 28"),
    ]
    differences = [(*row[:2], row[-2]) for row in found["B - A"].rows]
    assert differences == [(f"V = {v}", "3", "-1.1 [-1.35, -0.852]*") for v in (20, 24)]
    assert "2 shared grid points (0 only in A, 1 only in B)" in found["B - A"].note
    assert "verdicts that changed" not in found, "claims are not judged by sweep"


def test_two_machines_that_agree_differ_in_nothing_but_what_made_them(study, tmp_path):
    study("here")
    study("here", results="there")
    folder = tmp_path / "there/here"
    points = pl.read_parquet(folder / "points.parquet").with_columns(device_name=pl.lit("other"))
    write_table(folder / "points.parquet", points, TABLES["points"])
    found = compared(tmp_path, "here", str(folder))
    assert found["made by"].rows == [("device_name", "x", "other")]
    assert {title for title, section in found.items() if section.rows} == {"made by"}
    assert "5 of them the same in every seed" in found["B - A"].note


def test_the_command_prints_the_tables_and_writes_a_page_that_needs_nothing_else(
    study, tmp_path, capsys
):
    study("before")
    study("after", learning_rate=0.1)
    page = tmp_path / "page.html"
    given = ["--results", str(tmp_path / "results"), "--page", str(page)]
    assert main(["compare", "before", "after", *given]) == 0
    printed, text = capsys.readouterr().out, page.read_text()
    for shown in ("learning_rate", "V = 20, untied head", "-2 [-2, -2]*", "c: It holds."):
        assert shown in printed
        assert shown in text
    assert "://" not in text


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("nothing", "nothing: must be a results folder, the name of a config, CONFIG.yaml or"),
        ("study.yaml:pie", "study.yaml: sweep must be one of plain, tied, got pie"),
        ("study", "metrics.parquet: cannot be read"),
    ],
)
def test_a_side_that_cannot_be_read_is_refused_in_one_line(
    study, tmp_path, monkeypatch, capsys, side, message
):
    study("study")
    (tmp_path / "results/study/metrics.parquet").write_bytes(b"junk")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", side, "study.yaml", "--page", "page.html"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "page.html").exists()
