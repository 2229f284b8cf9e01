"""Precision and compiling: what is chosen, what is printed, and that results stay the same."""

import os
import shutil
import subprocess
import sys

import polars as pl
import pytest
import torch

from reversal_curse.config.settings import Settings
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.execution import Execution, Machine, execution
from reversal_curse.training.interruption import Interrupted
from small_runs import CPU, same_tables, small_settings, trained
from stopping import StopAfter

ABLE = {device: Machine(device, bfloat16=True, missing="") for device in ("cpu", "cuda")}


def on(machine: Machine, **given) -> Execution:
    """Choose the execution of a run with these settings."""
    return execution(Settings(**given), machine)


@pytest.mark.parametrize("device", ABLE)
@pytest.mark.parametrize(
    ("given", "precision", "reason"),
    [
        ({"embed_dim": 768}, "bfloat16", "embed_dim"),
        ({"embed_dim": 64, "heads": 2}, "float32", "faster from embed_dim"),
        ({"embed_dim": 96, "precision": "bfloat16"}, "bfloat16", "as asked"),
        ({"embed_dim": 768, "precision": "float32"}, "float32", "as asked"),
        ({"family": "one_layer"}, "float64", "fixed by the family"),
        ({"family": "bilinear"}, "float32", "fixed by the family"),
    ],
)
def test_wide_models_are_trained_in_bfloat16_unless_asked_otherwise(
    device, given, precision, reason
):
    chosen = on(ABLE[device], **given)
    assert chosen.precision == precision
    assert reason in chosen.precision_reason
    assert chosen.compiled_reason


@pytest.mark.parametrize("asked", ["auto", "bfloat16"])
def test_without_bfloat16_instructions_float32_is_used_and_a_line_says_why(asked):
    chosen = on(Machine("cpu", bfloat16=False, missing=""), precision=asked)
    assert chosen.precision == "float32"
    assert chosen.precision_reason == "this cpu has no bfloat16 instructions"


@pytest.mark.parametrize("device", ABLE)
def test_long_runs_are_compiled_and_short_ones_are_not(device):
    assert on(ABLE[device]).compiled
    short = {"layers": 1, "heads": 2, "embed_dim": 20, "vocab_size": 20, "epochs": 10}
    assert not on(ABLE[device], **short).compiled


def test_deeper_models_must_train_for_longer_to_be_compiled():
    for layers, pays in ((1, 68), (8, 264)):
        chosen = on(ABLE["cpu"], layers=layers, heads=2, embed_dim=64, seeds=1, epochs=500)
        assert chosen.compiled_reason.endswith(f"pays off from {pays} s")


@pytest.mark.parametrize("asked", ["auto", "always"])
def test_without_a_compiler_the_plain_path_is_taken_and_a_line_says_why(asked):
    chosen = on(Machine("cpu", bfloat16=True, missing="a compiler (g++)"), compile=asked)
    assert not chosen.compiled
    assert chosen.compiled_reason == "torch.compile lacks a compiler (g++)"


def test_a_missing_compiler_is_noticed(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert Machine.of(CPU).missing == "a compiler (no-such-compiler)"


@pytest.mark.parametrize("family", ["gpt", "masked_diffusion"])
def test_bfloat16_ends_near_float32(family):
    """Products are rounded to eight bits; the curves must not differ by more than that explains."""
    if not Machine.of(CPU).bfloat16:
        pytest.skip("no bfloat16 instructions")
    settings = {"family": family, "dropout": 0.0}
    tables = [trained(small_settings(**settings, precision=p)) for p in ("float32", "bfloat16")]
    exact, rounded = (table["metrics"]["nll_token"] for table in tables)
    assert (exact - rounded).abs().max() < 0.03
    assert not exact.equals(rounded)
    start = [table["gradients"].filter(epoch=0) for table in tables]
    assert start[0].equals(start[1]), "probes must use float32"


@pytest.fixture
def compiler():
    """A compiler; what it compiled is forgotten afterwards."""
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    yield
    torch.compiler.reset()


def assert_near(compiled: dict[str, pl.DataFrame], plain: dict[str, pl.DataFrame]) -> None:
    """Compare all tables, up to the rounding of sums in another order."""
    for name, table in plain.items():
        for column in table.select(pl.selectors.float()).columns:
            apart = (compiled[name][column] - table[column]).abs().max() or 0
            assert apart <= 1e-4 + 1e-3 * (table[column].abs().max() or 0), (name, column)


@pytest.mark.slow
def test_compiled_training_gives_the_tables_of_plain_training(compiler, capfd):
    """This holds for every table, with dropout; the smaller last batch is not compiled."""
    tables = {}
    for choice in ("never", "always"):
        pace = {"epochs": 6, "batch_size": 5, "eval_every": 1, "compile": choice}
        settings = small_settings(layers=1, family="masked_diffusion", masking="either", **pace)
        torch._dynamo.utils.counters.clear()
        tables[choice] = trained(settings)
    assert "not compiled" not in capfd.readouterr().out
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs == 2, "whole batches and evaluations must each be compiled once"
    assert_near(tables["always"], tables["never"])


@pytest.mark.slow
def test_compiled_runs_follow_each_other_and_go_on_where_they_stopped(compiler, tmp_path, capfd):
    """Runs share a process, as in a job, but nothing is taken over from the run before."""
    for width in (8, 12):
        given = {"layers": 1, "embed_dim": width, "freeze_embeddings": True}
        given |= {"epochs": 6, "batch_size": 5, "eval_every": 1}
        settings = small_settings(**given, compile="always")
        whole = trained(settings)
        assert_near(whole, trained(small_settings(**given, compile="never")))
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1e9)
    with pytest.raises(Interrupted):
        trained(settings, checkpoints, StopAfter(3))
    assert same_tables(trained(settings, checkpoints), whole)
    assert "not compiled" not in capfd.readouterr().out


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken_at", ["", "0.134145"], ids=["always", "at the gradient"]
)  # 3 * 0.044715 is only in the derivative of GELU
def test_a_compiler_that_fails_leaves_the_plain_path(tmp_path, broken_at):
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
        [sys.executable, "-c", GRADIENT],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "not compiled: torch.compile failed with " in done.stdout
    assert "1.083 is the slope" in done.stdout
