"""Seeds that do not all fit are trained in groups, which the tables do not show."""

import polars as pl
import pytest

from reversal_curse.config.errors import UserError
from reversal_curse.config.settings import Settings
from reversal_curse.families import FAMILIES
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.interruption import Interrupted
from reversal_curse.training.memory import free_bytes, seed_groups
from small_runs import CPU, same_tables, small_settings, trained
from stopping import StopAfter

GPU_80 = 80 * 10**9 // 5 * 4
"""Bytes of a GPU of 80 GB that training uses."""
FOUR = 4 * FAMILIES["gpt"].memory(Settings())
"""Bytes that four seeds of the papers' default need."""


@pytest.mark.parametrize(
    ("free", "groups"), [(GPU_80, [[*range(10)]]), (FOUR, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])]
)
def test_seeds_are_divided_evenly_and_each_group_fits(free, groups):
    assert seed_groups(Settings(), list(range(10)), free) == groups


def test_if_not_even_one_seed_fits_a_line_says_how_much_it_needs():
    with pytest.raises(UserError, match=r"one seed needs about .* GB .* larger GPU"):
        seed_groups(Settings(layers=96, embed_dim=12288), [0], GPU_80)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_an_estimate_that_grows_with_the_model(family):
    sizes = [(80, 96), (800, 768)]
    small, large = (Settings(family=family, vocab_size=v, embed_dim=d) for v, d in sizes)
    assert 0 < FAMILIES[family].memory(small) < FAMILIES[family].memory(large)


@pytest.mark.slow
def test_the_tables_show_neither_the_groups_nor_where_a_run_was_stopped(
    tmp_path, monkeypatch, capsys
):
    settings = small_settings(epochs=6)
    whole = trained(settings)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")  # a job with one MiB, in which two seeds fit
    assert len(seed_groups(settings, [0, 1, 2], free_bytes(CPU))) == 2
    parts = trained(settings)
    assert "seeds in 2 groups of up to 2, as memory allows" in capsys.readouterr().out
    for name, table in whole.items():
        exact = ~pl.selectors.by_dtype(pl.Float32, pl.Float64, pl.List(pl.Float32))
        assert parts[name].select(exact).equals(table.select(exact))
    losses = [tables["metrics"]["nll_token"].to_list() for tables in (parts, whole)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1e9)
    for epochs in (3, 6):  # first in the first group, then in the second
        with pytest.raises(Interrupted):
            trained(settings, checkpoints, StopAfter(epochs))
    capsys.readouterr()
    found = trained(settings, checkpoints)
    printed = capsys.readouterr().out
    assert "going on after epoch 6 of 6" in printed
    assert "going on after epoch 3 of 6" in printed
    assert same_tables(found, parts)
