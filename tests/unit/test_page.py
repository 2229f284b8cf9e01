"""The page of results, as a file; `tests/browser` opens it."""

import gzip
import re
from base64 import b64decode
from io import StringIO

import polars as pl
import pytest
import yaml

from reversal_curse.claims.ledger import CLAIMS
from reversal_curse.cli import main
from reversal_curse.config.file import Config, Style
from reversal_curse.config.grid import read_sweeps
from reversal_curse.page.build import draw_overview, minimal_config
from reversal_curse.products import Products
from reversal_curse.tables.files import read_table, write_table
from reversal_curse.tables.schemas import TABLES
from small_page import CONFIG, EPOCHS, SEEDS, write_small_page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_small_page(tmp_path_factory.mktemp("page"))


def make(page) -> int:
    """Write the page again; return the exit status."""
    config = page.parent.parent / "config.yaml"
    return main(["page", "--config", str(config), "--results", str(page.parent)])


def test_the_page_is_one_file_that_escapes_what_it_quotes_and_is_the_same_each_time(page):
    text = page.read_text()
    assert "Of &lt;b&gt;my&lt;/b&gt; own" in text
    assert "Of <b>my" not in text
    assert "training on <code>[M] is B</code> alone" in text
    assert make(page) == 0
    assert page.read_text() == text
    assert (
        Products(Config.load(page.parent.parent / "config.yaml"), page.parent).problem("page") == ""
    )


def test_curves_are_thinned_to_sixty_epochs_with_the_first_and_the_last(page):
    (packed,) = re.findall(r'id="curves-csv">([^<]+)<', page.read_text())
    curves = pl.read_csv(StringIO(gzip.decompress(b64decode(packed)).decode()))
    epochs = sorted(curves["epoch"].unique())
    assert (len(epochs), epochs[0], epochs[-1]) == (60, 0, EPOCHS)
    assert curves.height == 60 * curves["run"].n_unique() * SEEDS * 2


def test_a_page_without_its_tables_is_an_error_and_the_old_one_stays(page, capsys):
    table, before = page.with_name("points.parquet"), page.read_bytes()
    content = table.read_bytes()
    table.unlink()
    assert make(page) == 1
    assert capsys.readouterr().err == f"{table}: no such file\n"
    assert page.read_bytes() == before
    assert not list(page.parent.glob(".*"))
    table.write_bytes(content)


def test_the_page_is_out_of_date_once_a_figure_was_drawn_anew(page):
    products = Products(Config.load(page.parent.parent / "config.yaml"), page.parent)
    svg = page.parent / "figures/mine.svg"
    content = svg.read_text()
    svg.write_text(content + " ")
    products.record("figures/mine", products.source("figures/mine"))
    assert products.problem("page").endswith("made from other runs, settings or code")
    svg.write_text(content)
    products.record("figures/mine", products.source("figures/mine"))
    assert products.problem("page") == ""


@pytest.mark.parametrize("source", ["config/config.yaml", "config/medium.yaml", CONFIG])
def test_the_yaml_of_a_figure_makes_that_figure_and_nothing_else(root, source):
    config = Config.parse(source) if isinstance(source, dict) else Config.load(root / source)
    sweeps, drawings = read_sweeps(config), config.drawings()
    for name, figure in drawings.items():
        alone = Config.parse(yaml.safe_load(minimal_config(config, sweeps, name)))
        assert read_sweeps(alone) == {figure.sweep: sweeps[figure.sweep]}
        assert alone.drawings() == {name: figure}
        assert set(alone.families) <= {s.family for s in sweeps[figure.sweep].points.values()}
        assert "unused" not in alone.presets


def test_the_ledger_opens_with_counts_and_then_lists_what_is_not_settled(page):
    text = page.with_name("claims.md").read_text()
    opening, rest = text.split("## How to read it")
    table = read_table(page.with_name("claims.parquet"), "claims")
    assert "| evidence |" in opening
    assert "| check |" in opening
    for verdict in ("contradicted", "inconclusive"):
        ids = table.filter(verdict=verdict)["id"].to_list()
        assert ids
        assert f"**{verdict.capitalize()}**: {len(ids)}\n" in opening
        for name in ids:
            assert f"](#{name})" in opening
            assert rest.count(f'<a id="{name}"></a>') == 1


@pytest.mark.parametrize("judged", [{}, {"effect": 0.5, "ci_low": -float("inf")}])
def test_the_overview_draws_a_ledger_without_verdicts_and_intervals_without_end(tmp_path, judged):
    row = {"kind": "evidence", "verdict": "inconclusive" if judged else "not tested"}
    ends = {
        "threshold": 0.0,
        "threshold_below": float("inf"),
        "ci_high": float("inf"),
        "median": 0.5,
    }
    rows = [
        {"id": name, "n_seeds": 1, "n_reaching": 1, "n_points": 1, "n_left_out": 0}
        for name in CLAIMS
    ]
    table = pl.DataFrame([one | row | ends | judged for one in rows], TABLES["claims"].schema)
    write_table(tmp_path / "claims.parquet", table, TABLES["claims"])
    draw_overview(tmp_path, [tmp_path / "overview.svg"], Style())
    links = re.findall(r'xlink:href="#(\w+)"', (tmp_path / "overview.svg").read_text())
    assert (set(CLAIMS) <= set(links)) == bool(judged)
