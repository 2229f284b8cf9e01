"""Training and drawing without Snakemake: from a notebook and from a shell."""

import polars as pl
import pytest

import reversal_curse as rc
from reversal_curse.cli import main
from reversal_curse.config.errors import UserError
from reversal_curse.config.settings import NAMES
from reversal_curse.families import FAMILIES

TINY = {"vocab_size": 20, "epochs": 5, "eval_every": 5, "seeds": 2}
SMALL = {"family": "gpt", "layers": 1, "embed_dim": 20, **TINY}


@pytest.fixture(scope="module")
def runs() -> list[rc.Run]:
    """Two runs that differ in their dropout."""
    return [rc.train(**SMALL, dropout=dropout) for dropout in (0.1, 0.0)]


def titles(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes]


def test_a_run_has_tables_with_every_setting_as_a_column(runs):
    assert runs[0].settings.heads == 4, "heads must be chosen to divide the width"
    table = runs[0].metrics
    assert set(table.columns) > {*NAMES, "run", "seed", "epoch", "nll_token"}
    assert table.height == 2 * 2 * 2
    assert table["masking"].null_count() == table.height, "masking does not apply to gpt"
    assert set(table["dropout"]) == {0.1}
    assert list(runs[0].tables) == [*FAMILIES["gpt"].tables]
    assert repr(runs[0]).startswith("Run(task=reversal/family=gpt/layers=1/embed_dim=20/")
    with pytest.raises(AttributeError, match=r"no weights; it has metrics, logits"):
        _ = runs[0].weights


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_trained_and_its_tables_have_each_column_once(family):
    small = {"layers": 1, "embed_dim": 8} if "transformer" in FAMILIES[family].parts else {}
    run = rc.train(family=family, **TINY, **small)
    assert list(run.tables) == [*FAMILIES[family].tables]
    assert all(set(NAMES) <= set(table.columns) for table in run.tables.values())


def test_a_run_is_drawn_and_several_are_told_apart(runs):
    assert titles(rc.draw("curves", runs[0])) == [""]
    assert titles(rc.draw("curves", runs)) == ["dropout 0", "dropout 0.1"]
    assert rc.draw("logits", runs).axes


def test_a_table_as_the_workflow_gathers_it_is_drawn(runs):
    """`results/metrics.parquet` has only the settings of its config."""
    table = pl.concat(run.metrics for run in runs).drop("beta1", "tie_head", "precision")
    assert titles(rc.draw("curves", table)) == ["dropout 0", "dropout 0.1"]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda runs: rc.draw("curve", runs), r"unknown plot curve \(did you mean curves\?\)"),
        (lambda runs: rc.draw("curves", []), "plot curves: needs at least one run"),
        (lambda runs: rc.draw("weights", runs), "plot weights: .* has no weights; allowed: .*"),
        (lambda runs: rc.draw("masking", runs), "plot masking: .*without masking.*"),
        (lambda runs: rc.draw("curves", runs[0].metrics.drop("run")), "no column run"),
        (lambda runs: rc.draw("storage", runs[0].metrics), "needs runs, .* attention, metrics"),
        (lambda runs: rc.draw("curves", runs[0].metrics.clear()), "its table metrics has no rows"),
        (lambda runs: rc.train(layer=1), r"layer: unknown key .*\(did you mean layers\?\)"),
        (lambda runs: rc.train(masking="object"), "masking: object changes nothing with family g"),
        (lambda runs: rc.train(heads=5), "heads 5 with embed_dim 768; .*heads that divide.*"),
        (lambda runs: rc.load("nowhere"), r"nowhere: holds no run \(run\.json\)"),
    ],
)
def test_a_mistake_gives_one_line_that_says_what_is_allowed(runs, call, problem):
    with pytest.raises(UserError, match=problem) as caught:
        call(runs)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_what_a_shell_trains_and_draws_is_what_a_notebook_does(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [f"{name}={value}" for name, value in SMALL.items()]
    assert main(["train", *given, "dropout=1e-1", "--output", "deep/run"]) == 0
    assert "metrics.parquet, run.json" in capsys.readouterr().out
    loaded = rc.load("deep/run")
    assert loaded.settings == runs[0].settings
    for name, table in runs[0].tables.items():
        assert loaded.tables[name].equals(table), name
    assert main(["draw", "curves", "deep/run", "--output", "a.pdf", "b.png"]) == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "b.png").stat().st_size > 1000
    assert titles(rc.draw("curves", [loaded, runs[1]])) == ["dropout 0", "dropout 0.1"]


def test_the_package_tells_what_it_offers():
    assert {"Run", "draw", "load", "train"} <= set(rc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = rc.trian
