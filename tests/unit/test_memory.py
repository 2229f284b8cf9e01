"""Seeds that do not fit together are trained in groups, and the tables do not show it."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from reversal_curse.config.errors import UserError
from reversal_curse.config.settings import Settings
from reversal_curse.families import FAMILIES
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.interruption import Interrupted
from reversal_curse.training.loop import train
from reversal_curse.training.memory import free_bytes, seed_groups
from stopping import StopAfter

CPU = torch.device("cpu")
GPU_80 = 80 * 10**9 // 5 * 4
"""What is used of a GPU of 80 GB."""


def test_ten_seeds_of_the_papers_default_fit_a_gpu_of_80_gb():
    assert seed_groups(Settings(), list(range(10)), GPU_80) == [list(range(10))]


def test_seeds_are_divided_evenly_and_each_group_fits():
    settings = Settings()
    free = 4 * FAMILIES["gpt"].memory(settings)
    assert seed_groups(settings, list(range(10)), free) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_where_not_one_seed_fits_a_line_says_how_much_it_needs():
    with pytest.raises(UserError, match=r"one seed needs about .* GB .* larger GPU"):
        seed_groups(Settings(layers=96, embed_dim=12288), [0], GPU_80)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_an_estimate_that_grows_with_the_model(family):
    sizes = [(80, 96), (800, 768)]
    small, large = (Settings(family=family, vocab_size=v, embed_dim=d) for v, d in sizes)
    assert 0 < FAMILIES[family].memory(small) < FAMILIES[family].memory(large)


@pytest.fixture
def one_megabyte(monkeypatch) -> None:
    """A job of SLURM with one MiB, which two of the seeds below fit into."""
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")


def grouped(small_settings) -> Settings:
    settings = small_settings(epochs=6)
    assert len(seed_groups(settings, [0, 1, 2], free_bytes(CPU))) == 2
    return settings


@pytest.mark.slow
def test_the_tables_do_not_show_the_groups(
    small_settings, make_dataset, one_megabyte, monkeypatch, capsys
):
    settings = grouped(small_settings)
    dataset = make_dataset(settings)
    parts = train(settings, dataset, CPU)
    assert "seeds in 2 groups of up to 2, as memory allows" in capsys.readouterr().out
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    for name, whole in train(settings, dataset, CPU).items():
        floats = (pl.Float32, pl.Float64, pl.List(pl.Float32))
        exact = [column for column in whole.columns if whole[column].dtype not in floats]
        assert parts[name].select(exact).equals(whole.select(exact))
    assert parts["metrics"]["nll_token"].to_list() == pytest.approx(
        train(settings, dataset, CPU)["metrics"]["nll_token"].to_list(), abs=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 9])
def test_a_run_in_groups_that_was_stopped_goes_on_where_it_was(
    small_settings, make_dataset, one_megabyte, tmp_path, capsys, stop
):
    settings = grouped(small_settings)
    dataset = make_dataset(settings)
    expected = train(settings, dataset, CPU)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1e9)
    with pytest.raises(Interrupted):
        train(settings, dataset, CPU, checkpoints, StopAfter(stop))
    capsys.readouterr()
    found = train(settings, dataset, CPU, checkpoints)
    printed = capsys.readouterr().out
    assert f"going on after epoch {6 if stop == 9 else 3} of 6" in printed
    for name, table in expected.items():
        assert found[name].equals(table)
