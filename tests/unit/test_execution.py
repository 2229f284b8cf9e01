"""Precision and compiling: what is chosen and said where, and that results stay the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import polars as pl
import pytest
import torch

from reversal_curse.config.settings import Settings
from reversal_curse.families import FAMILIES
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.execution import Machine, execution
from reversal_curse.training.interruption import Interrupted
from reversal_curse.training.loop import train
from stopping import StopAfter

CPU = torch.device("cpu")
ABLE = {device: Machine(device, bfloat16=True, missing="") for device in ("cpu", "cuda")}


@pytest.mark.parametrize("device", ABLE)
def test_wide_models_are_trained_in_bfloat16_and_narrow_ones_are_not(device):
    wide, narrow = Settings(embed_dim=768), Settings(embed_dim=64, heads=2)
    assert execution(wide, ABLE[device]).precision == "bfloat16"
    chosen = execution(narrow, ABLE[device])
    assert (chosen.precision, "faster from embed_dim" in chosen.precision_reason) == (
        "float32",
        True,
    )


@pytest.mark.parametrize("asked", ["auto", "bfloat16"])
def test_without_bfloat16_instructions_it_is_float32_and_a_line_says_why(asked):
    chosen = execution(Settings(precision=asked), Machine("cpu", bfloat16=False, missing=""))
    assert chosen.precision == "float32"
    assert chosen.precision_reason == "this cpu has no bfloat16 instructions"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_asked_for_is_taken(precision):
    chosen = execution(Settings(embed_dim=96, precision=precision), ABLE["cpu"])
    assert (chosen.precision, chosen.precision_reason) == (precision, "as asked")


@pytest.mark.parametrize(
    ("family", "precision"), [("one_layer", "float64"), ("bilinear", "float32")]
)
def test_the_families_of_the_theory_have_their_own_precision(family, precision):
    assert execution(Settings(family=family), ABLE["cpu"]).precision == precision


@pytest.mark.parametrize("device", ABLE)
def test_long_runs_are_compiled_and_short_ones_are_not(device):
    assert execution(Settings(), ABLE[device]).compiled
    short = Settings(layers=1, heads=2, embed_dim=20, vocab_size=20, epochs=10)
    assert not execution(short, ABLE[device]).compiled


def test_deeper_models_must_train_for_longer_to_be_compiled():
    shallow, deep = (
        execution(Settings(layers=layers, heads=2, embed_dim=64, seeds=1, epochs=500), ABLE["cpu"])
        for layers in (1, 8)
    )
    assert shallow.compiled_reason.endswith("pays off from 68 s")
    assert deep.compiled_reason.endswith("pays off from 264 s")


@pytest.mark.parametrize("asked", ["auto", "always"])
def test_without_a_compiler_the_plain_path_is_taken_and_a_line_says_why(asked):
    machine = Machine("cpu", bfloat16=True, missing="a compiler (g++)")
    chosen = execution(Settings(compile=asked), machine)
    assert (chosen.compiled, chosen.compiled_reason) == (
        False,
        "torch.compile lacks a compiler (g++)",
    )


def test_a_compiler_that_is_not_there_is_noticed(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert Machine.of(CPU).missing == "a compiler (no-such-compiler)"


@pytest.mark.parametrize("family", ["gpt", "masked_diffusion"])
def test_bfloat16_ends_near_float32(small_settings, make_dataset, family):
    """Products are rounded to eight bits; the curves must not part by more than that explains."""
    if not Machine.of(CPU).bfloat16:
        pytest.skip("no bfloat16 instructions")
    tables = {}
    for precision in ("float32", "bfloat16"):
        settings = small_settings(family=family, dropout=0.0, precision=precision)
        tables[precision] = train(settings, make_dataset(settings), CPU)
    exact, rounded = (table["metrics"]["nll_token"] for table in tables.values())
    assert (exact - rounded).abs().max() < 0.03
    assert not exact.equals(rounded)
    start = [table["gradients"].filter(pl.col("epoch") == 0) for table in tables.values()]
    assert start[0].equals(start[1]), "probes are in float32"


@pytest.fixture
def compiler():
    """Something to compile with; what was compiled is forgotten afterwards."""
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    yield
    torch.compiler.reset()


def assert_near(compiled: dict[str, pl.DataFrame], plain: dict[str, pl.DataFrame]) -> None:
    """All tables alike, but for the rounding of sums in another order."""
    for name, table in plain.items():
        for column in table.select(pl.selectors.float()).columns:
            apart = (compiled[name][column] - table[column]).abs().max() or 0
            assert apart <= 1e-4 + 1e-3 * (table[column].abs().max() or 0), (name, column)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"family": "gpt", "layers": 2, "freeze_embeddings": True},
        {"family": "masked_diffusion", "layers": 2, "pos_encoding": "rotary"},
        {"family": "masked_diffusion", "layers": 1, "masking": "either"},
    ],
    ids=str,
)
def test_compiled_training_is_plain_training(small_settings, make_dataset, compiler, capfd, given):
    """Every table, in float32, with dropout; the smaller last batch runs as it is."""
    tables = {}
    for choice in ("never", "always"):
        settings = small_settings(**given, epochs=6, batch_size=5, eval_every=1, compile=choice)
        torch._dynamo.utils.counters.clear()
        tables[choice] = train(settings, make_dataset(settings), CPU)
    assert "not compiled" not in capfd.readouterr().out
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs == 2, "a whole batch and an evaluation, each compiled once"
    assert_near(tables["always"], tables["never"])


@pytest.mark.slow
def test_compiled_runs_follow_each_other_and_go_on_where_they_stopped(
    small_settings, make_dataset, compiler, tmp_path, capfd
):
    """In one process, as grid points of a job are: nothing is taken from the run before."""
    for width in (8, 12):
        given = {"layers": 1, "embed_dim": width, "epochs": 6, "eval_every": 1}
        settings = small_settings(**given, compile="always")
        dataset = make_dataset(settings)
        whole = train(settings, dataset, CPU)
        folder = tmp_path / f"checkpoints-{width}"
        with pytest.raises(Interrupted):
            train(settings, dataset, CPU, Checkpoints(folder, 1e9), StopAfter(3))
        pieces = train(settings, dataset, CPU, Checkpoints(folder, 1e9))
        assert all(pieces[name].equals(table) for name, table in whole.items())
        assert_near(whole, train(small_settings(**given, compile="never"), dataset, CPU))
    assert "not compiled" not in capfd.readouterr().out


TRAIN = """
import torch
from reversal_curse.config.settings import Settings
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.training.loop import train

settings = Settings(layers=1, heads=2, embed_dim=16, vocab_size=20, seeds=2, epochs=2,
                    compile="always")
tables = train(settings, Dataset.of(generate_dataset(settings)), torch.device("cpu"))
print(tables["metrics"].height, "rows")
"""
GRADIENT = """
import torch
from reversal_curse.training.execution import Execution

weight = torch.ones(64, requires_grad=True)
gelu = torch.nn.functional.gelu
execution = Execution("float32", "", compiled=True, compiled_reason="")
gradients = execution.run(
    lambda x: gelu(x * weight, approximate="tanh").sum(),
    torch.device("cpu"),
    lambda loss: torch.autograd.grad(loss, [weight]),
)
for _ in range(2):
    (gradient,) = gradients(torch.ones(64))
print(f"{gradient.sum() / 64:.3f} is the slope")
"""
OF_THE_GRADIENT = "0.134145"  # 3 * 0.044715 stands in the derivative of GELU alone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken_at", "program", "printed"),
    [("", TRAIN, "8 rows"), (OF_THE_GRADIENT, GRADIENT, "1.083 is the slope")],
    ids=["always", "at the gradient"],
)
def test_a_compiler_that_fails_leaves_the_plain_path(tmp_path, broken_at, program, printed):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    compiler = tmp_path / "broken-compiler"
    compiler.write_text(
        f"#!/bin/sh\nfor f; do if grep -qs -e '{broken_at}' -- \"$f\"; then\n"
        "echo 'this compiler is broken' >&2; exit 1; fi; done\n"
        'exec g++ "$@"\n'
    )
    compiler.chmod(0o755)
    environment = os.environ | {"CXX": str(compiler), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert "not compiled: torch.compile failed with " in done.stdout
    assert printed in done.stdout


def test_every_family_says_how_it_is_executed():
    for family in FAMILIES:
        chosen = execution(Settings(family=family), Machine.of(CPU))
        assert all((chosen.precision_reason, chosen.compiled_reason))
