"""What reading the code cannot show of a GPU, the most telling first.

Tolerances are in nats, of the losses in `metrics`: float32 sums in another order differ in the
seventh digit, which training amplifies, so the runs that are compared are short.
"""

import json
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import calibrate
import ceilings
import numpy as np
import ours
import polars as pl
import pytest
import torch
import training
import yaml

from processes import output_of, start_in_a_group, wait_for
from reversal_curse.config.cost import Hardware
from reversal_curse.config.errors import UserError
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.config.settings import DEFAULTS, settle
from reversal_curse.families import FAMILIES, batch_steps
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.execution import chosen_execution
from reversal_curse.training.gpus import training_device
from reversal_curse.training.interruption import Interrupted
from reversal_curse.training.loop import train
from reversal_curse.training.memory import free_bytes, release_memory, seed_groups
from small_runs import CPU, dataset_of, small_settings
from stopping import StopAfter

pytestmark = pytest.mark.slow

NEAR = {"float32": 5e-3, "float64": 1e-6}
"""How far losses of short runs may lie apart, in nats, by precision."""
TINY = {"layers": 1, "heads": 2, "embed_dim": 8, "vocab_size": 20, "epochs": 3, "batch_size": 5}
LOSSES = pl.selectors.starts_with("nll")


def needs(*packages: str) -> None:
    """Skip a test that needs packages which could not be installed without a network."""
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed")


def trained(settings, device, *more, seeds=None) -> dict[str, pl.DataFrame]:
    """Train on a device; return the tables."""
    return train(settings, dataset_of(settings, seeds), device, *more)


def apart(some: dict[str, pl.DataFrame], others: dict[str, pl.DataFrame]) -> float:
    """Return the largest difference of a loss; tables must have the same rows, and no NaN more."""
    for name, table in others.items():
        assert some[name].shape == table.shape, name
        for column in table.select(pl.selectors.float()).columns:
            assert (some[name][column].is_finite() == table[column].is_finite()).all(), column
    differences = some["metrics"].select(LOSSES) - others["metrics"].select(LOSSES)
    return max(column.abs().max() or 0.0 for column in differences)


# (a) every family and task, as on the CPU; a seed in a batch as alone


VARIANTS = [
    {"copy_first": "random", "pos_encoding": "alibi", "optimizer": "sgd", "dropout": 0.1},
    {"copy_first": "masked", "mask_rate": "fixed", "mask_entities": True, "entity_length": 2},
    {"task": "inverse", "bridge": "full", "reversal": "permutation", "optimizer": "muon"},
    {"loss_on": "sequence", "mlp": False, "tie_head": True, "freeze_embeddings": True},
    {"family": "masked_diffusion", "masking": "any_order", "pos_encoding": "rotary"},
    {"family": "masked_diffusion", "masking": "either", "entity_length": 2, "dropout": 0.1},
    {"family": "one_layer", "factorised": True, "loss": "brier"},
    {"family": "bilinear", "loss": "hinge"},
]
LEARNABLE = [{"family": name, "task": task} for name in FAMILIES for task in FAMILIES[name].tasks]


@pytest.mark.stage(seconds=2)
@pytest.mark.parametrize(
    "given", [*LEARNABLE, *VARIANTS], ids=lambda given: " ".join(map(str, given.values()))
)
def test_training_is_that_of_the_cpu_and_a_seed_as_alone(stage, device, at_scale, given):
    """What is drawn while training, for dropout and masks, a GPU draws differently."""
    size = at_scale(TINY, {**TINY, "layers": 2, "embed_dim": 32, "vocab_size": 40})
    plain = {"dropout": 0.0, "masking": "subject", "precision": "float32", "seeds": 2}
    settings = small_settings(**size, **plain | {"eval_every": 1} | given)
    here, there = trained(settings, device), trained(settings, CPU)
    alone = trained(settings, device, seeds=[1])
    second = {name: table.filter(seed=1) for name, table in here.items()}
    if "copy_first" in given or "masking" in given:
        stage.notes.append("draws, so compared with the CPU before training")
        here, there = ({"metrics": run["metrics"].filter(epoch=0)} for run in (here, there))
    stage.numbers["from the CPU"] = apart(here, there)
    stage.numbers["a seed from itself alone"] = apart(second, alone)
    near = NEAR[chosen_execution(settings, device).precision]
    assert max(stage.numbers.values()) < near


# (c) compiled, with CUDA graphs


@pytest.mark.stage(seconds=45)
@pytest.mark.parametrize("family", ["masked_diffusion", "gpt"])
def test_a_compiled_run_that_is_resumed_has_the_numbers_of_a_plain_one(
    stage, device, at_scale, tmp_path, capfd, family
):
    """With dropout and masking, which a device draws outside of its graphs."""
    if device.type == "cpu" and family == "gpt":
        pytest.skip("compiled on a CPU by other tests")
    size = at_scale({"layers": 1}, {"layers": 2, "embed_dim": 64, "vocab_size": 80})
    given = {"epochs": 6, "batch_size": 5, "eval_every": 1, "pos_encoding": "rotary"}
    given |= {"family": family, "precision": "float32", **size}
    plainly = trained(small_settings(**given, compile="never"), device)
    settings, checkpoints = small_settings(**given, compile="always"), Checkpoints(tmp_path, 1e9)
    torch._dynamo.utils.counters.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(Interrupted):
            trained(settings, device, checkpoints, StopAfter(3))
        release_memory()  # as between two grid points of a job
        compiled = trained(settings, device, checkpoints)
    stage.numbers["apart"] = apart(compiled, plainly)
    counted = torch._dynamo.utils.counters
    stage.numbers["graphs compiled"] = counted["stats"]["unique_graphs"]
    stage.numbers["CUDA graphs skipped"] = counted["inductor"]["cudagraph_skips"]
    stage.numbers["inputs recorded"] = counted["inductor"]["cudagraph_recorded_non_static_inputs"]
    stage.notes += [str(w.message) for w in warned if "CUDAGraphs" in str(w.message)]
    assert "not compiled" not in capfd.readouterr().out
    assert not stage.notes
    assert stage.numbers["CUDA graphs skipped"] == 0
    assert stage.numbers["apart"] < NEAR["float32"]
    if device.type == "cuda":
        assert stage.numbers["inputs recorded"], "no CUDA graph was recorded"
    else:
        stage.notes.append("no CUDA graphs on a CPU")


# (e) memory


NARROW = {"layers": 1, "embed_dim": 20, "heads": 2}
MIDDLE = {"layers": 4, "embed_dim": 128, "heads": 4}
DEEP = {"layers": 24, "embed_dim": 128, "heads": 4}
WIDE = {"layers": 2, "embed_dim": 768, "heads": 12}
PAPER = {"layers": 24, "embed_dim": 768, "heads": 12}
SHAPES = {
    "narrow": (NARROW, 64, {"layers": 1, "embed_dim": 8}),
    "middle": (MIDDLE, 32, {"layers": 2, "embed_dim": 8}),
    "deep": (DEEP, 16, {"layers": 3, "embed_dim": 8}),
    "wide": (WIDE, 16, {"layers": 1, "embed_dim": 16}),
    "paper": (PAPER, 8, {"layers": 2, "embed_dim": 16}),
}
"""Each shape, the epochs that it is trained, and what a CPU trains in its place."""


@pytest.fixture(scope="module")
def measured(device, at_scale):
    """Train a shape with ten seeds and all probes, once: `measured(name, compile)`.

    Returns its settings, and what `ours.measured` does with peaks of a GPU's memory in bytes.
    """

    @cache
    def measure(name: str, compile: str = "never"):
        shape, epochs, tiny = SHAPES[name]
        few = {**tiny, "heads": 2, "epochs": 4, "seeds": 2, "vocab_size": 40}
        given = at_scale(few, {**shape, "epochs": epochs})
        settings = settle(DEFAULTS | {"eval_every": 1, "compile": compile} | given)
        release_memory()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        found = ours.measured(settings, device)
        if device.type == "cuda":
            found["allocated"] = torch.cuda.max_memory_allocated(device)
            found["reserved"] = torch.cuda.max_memory_reserved(device)
        return settings, found

    return measure


def check_memory(stage, settings, found: dict[str, float]) -> None:
    """Compare a peak with the estimate: training uses 4/5 of what is free, so 5/4 of it may be."""
    estimate = settings.seeds * FAMILIES["gpt"].memory(settings)
    stage.numbers["estimated GB"] = estimate / 1e9
    if "allocated" not in found:
        stage.notes.append("memory is not measured on a CPU")
        return
    stage.numbers["allocated GB"] = found["allocated"] / 1e9
    stage.numbers["reserved GB"] = found["reserved"] / 1e9
    stage.numbers["of the estimate"] = found["allocated"] / estimate
    if estimate > 1e9:  # less is mostly cuBLAS's workspace
        assert found["allocated"] <= 1.25 * estimate


@pytest.mark.stage(seconds=10)
@pytest.mark.parametrize(
    "shape",
    [*list(SHAPES)[:-1], pytest.param("paper", marks=pytest.mark.stage(seconds=70))],
)
def test_a_run_takes_no_more_memory_than_estimated(stage, measured, shape):
    settings, found = measured(shape)
    check_memory(stage, settings, found)


@contextmanager
def little_free(size: int, device: torch.device, monkeypatch):
    """Leave a run `size` bytes of the GPU, or of the memory of a SLURM job."""
    release_memory()
    if device.type == "cpu":
        monkeypatch.setenv("SLURM_MEM_PER_NODE", str(max(1, size * 5 // 4 // 2**20)))
        yield
        return
    rest = torch.cuda.mem_get_info(device)[0] - size * 5 // 4
    filled = torch.empty(rest, dtype=torch.uint8, device=device)
    yield
    del filled


@pytest.mark.stage(seconds=15)
def test_seeds_that_do_not_fit_are_trained_in_groups_or_refused(
    stage, device, at_scale, monkeypatch, capfd
):
    size = {"layers": 2, "heads": 8, "embed_dim": 1536, "vocab_size": 80}
    settings = small_settings(epochs=2, eval_every=1, **at_scale({}, size))
    whole = trained(settings, device)
    one = FAMILIES["gpt"].memory(settings)
    with little_free(int(2.5 * one), device, monkeypatch):
        groups = seed_groups(settings, [0, 1, 2], free_bytes(device))
        parts = train(settings, dataset_of(settings), device)
    assert "seeds in 2 groups of up to 2, as memory allows" in capfd.readouterr().out
    stage.numbers["seeds in groups of"] = [len(group) for group in groups]
    stage.numbers["GB of a seed"] = one / 1e9
    stage.numbers["from all at once"] = apart(parts, whole)
    assert stage.numbers["from all at once"] < NEAR["float32"]
    large = settle(vars(settings) | at_scale({"embed_dim": 256}, {"embed_dim": 6144}))
    with (
        little_free(int(2.5 * one), device, monkeypatch),
        pytest.raises(UserError, match=r"one seed needs about .* GB are free; use a larger GPU"),
    ):
        train(large, dataset_of(large), device)


# (f) speed


@pytest.mark.stage(seconds=30)
def test_speed_against_ceilings_and_a_plain_loop(stage, device, at_scale, measured):
    """Steps per second of ten seeds; the plain loop trains one at a time, so its time is ten-fold.

    The least time of an epoch, of arithmetic and memory, is known for V = 800 alone.
    """
    needs("transformers")
    import plain

    memory, rate = ceilings.memory_rate(device), cache(ceilings.product_rate)
    stage.numbers["GB/s"] = memory / 1e9
    for name in ("narrow", "middle", "paper"):
        settings, found = measured(name)
        precision = chosen_execution(settings, device).precision
        products = rate(precision, device)
        stage.numbers[f"TFLOP/s, {precision}"] = products / 1e12
        shape = {n: getattr(settings, n) for n in ("layers", "embed_dim", "heads")}
        floor = ceilings.floor_seconds(
            shape["layers"], shape["embed_dim"], settings.seeds, products, memory
        )
        steps = batch_steps(settings) / settings.epochs
        stage.numbers[f"{name}: steps/s"] = steps / found["seconds"]
        stage.numbers[f"{name}: share of the ceilings"] = floor / found["seconds"]
        one = plain.seconds_per_epoch(**shape, epochs=at_scale(1, 10), device=device)
        stage.numbers[f"{name}: times a plain loop"] = settings.seeds * one / found["seconds"]
    if device.type == "cpu":
        stage.notes.append("V = 40, so shares and ratios mean nothing")
        return
    slower = [n for n, ratio in stage.numbers.items() if n.endswith("loop") and ratio < 1]
    assert not slower, "slower than a plain loop"


@pytest.mark.stage(seconds=5)
def test_prices_are_fitted_and_foretell_what_was_measured(
    stage, device, at_scale, measured, report, tmp_path
):
    """The run of the narrow shape as it was, for its start; all as if 3000 epochs were trained."""
    runs = []
    for name in SHAPES:
        settings, found = measured(name)
        if not runs:
            runs.append((settings, found["whole"]))
        whole = settle(vars(settings) | {"epochs": 3000})
        more = whole.epochs - settings.epochs
        runs.append((whole, found["whole"] + more * found["seconds"]))
    amounts = np.array([calibrate.amounts_of(settings) for settings, _ in runs])
    took = np.array([seconds for _, seconds in runs])
    prices = calibrate.fitted(amounts, took)
    entry = {"description": f"one {report.head['device']}, measured by `make test-gpu`"}
    entry |= dict(zip(calibrate.PRICES, prices.tolist(), strict=True))
    stage.numbers |= entry
    ratios = amounts @ prices / took
    stage.numbers["estimate / measured"] = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    shipped = Path(calibrate.__file__).parent.parent / "src/reversal_curse/config/hardware.json"
    table = json.loads(shipped.read_text()) | {"gpu": entry}
    assert all(Hardware(**prices) for prices in table.values())
    if device.type == "cuda":
        assert calibrate.within(ratios, 2.0) == 1
    # `make test-gpu` replaces the package's file with the one in the report's folder.
    folder = report.folder if device.type == "cuda" else tmp_path
    (folder / "hardware.json").write_text(json.dumps(table, indent=2) + "\n")


# (b) bfloat16


@pytest.mark.stage(seconds=20)
def test_ten_seeds_in_bfloat16_end_within_the_spread_of_float32(stage, device, at_scale):
    wide = {"layers": 4, "heads": 4, "embed_dim": 256, "vocab_size": 200, "epochs": 60}
    size = at_scale({**TINY, "epochs": 8}, {**wide, "batch_size": 64})
    ends = {}
    for precision in ("float32", "bfloat16"):
        settings = small_settings(seeds=10, eval_every=4, precision=precision, **size)
        if chosen_execution(settings, device).precision != precision:
            pytest.skip("this processor has no bfloat16 instructions")
        metrics = trained(settings, device)["metrics"]
        ends[precision] = metrics.filter(epoch=settings.epochs)
    for split in ("train", "unseen"):
        losses = {name: end.filter(split=split)["nll_token"] for name, end in ends.items()}
        for name, loss in losses.items():
            written = f"{loss.mean():.3f} ({loss.min():.3f} to {loss.max():.3f})"
            stage.numbers[f"{split}, {name}"] = written
        for some, others in (("float32", "bfloat16"), ("bfloat16", "float32")):
            low, high = losses[others].min() - 0.01, losses[others].max() + 0.01
            assert low <= losses[some].mean() <= high, split


# (d) killed and resumed


TRAIN = """
import json, sys
from pathlib import Path
import torch
from reversal_curse.config.settings import settle
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.training.grid_point import train_grid_point

torch.use_deterministic_algorithms(True, warn_only=True)
settings, folder = settle(json.loads(sys.argv[1])), Path(sys.argv[2])
dataset = Dataset.of(generate_dataset(settings))
train_grid_point(settings, dataset, folder / "run", 1, folder / "checkpoints", 0.3)
"""


@pytest.mark.stage(seconds=45)
def test_a_killed_run_that_is_resumed_writes_the_bytes_of_one_that_was_not(
    stage, device, at_scale, environment, root, tmp_path
):
    """With deterministic algorithms; what has none prints a warning, which the report has."""
    needs("pyarrow")
    size = at_scale({**TINY, "epochs": 300}, {"layers": 2, "embed_dim": 64, "epochs": 300})
    given = {"family": "masked_diffusion", "eval_every": 10, "compile": "never", **size}
    settings = small_settings(**given)

    def start(folder: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", TRAIN, json.dumps(vars(settings)), str(folder)]
        return start_in_a_group(command, root, environment)

    whole = start(tmp_path / "whole")
    output_of(whole)
    killed = start(tmp_path / "killed")
    wait_for(lambda: list((tmp_path / "killed").rglob("*.pt")))
    killed.send_signal(signal.SIGTERM)
    stopped = output_of(killed, status=1)
    assert "stopped by SIGTERM after epoch" in stopped
    resumed = output_of(start(tmp_path / "killed"))
    assert "going on after epoch" in resumed
    stage.numbers["stopped after epoch"] = int(stopped.rpartition("after epoch ")[2].split()[0])
    stage.notes += [x for x in resumed.splitlines() if "deterministic" in x][:3]
    names = FAMILIES[settings.family].tables
    files = [
        [tmp_path / at / f"run/{name}.parquet" for name in names] for at in ("whole", "killed")
    ]
    same = [one.read_bytes() for one in files[0]] == [one.read_bytes() for one in files[1]]
    stage.numbers["same bytes"] = same
    read = [dict(zip(names, map(pl.read_parquet, run), strict=True)) for run in files]
    stage.numbers["apart"] = apart(*read)
    assert same or (stage.notes and stage.numbers["apart"] < NEAR["float32"])


# (g) a sweep


SIZE = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "seeds": 2}


def snakemake(root, folder, environment, config, *arguments) -> float:
    """Run the workflow in a new folder; return how long it took."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "4", "--nolock", *arguments]
    started = time.monotonic()
    process = start_in_a_group(
        [*command, "--configfile", str(folder / "config.yaml")], root, environment
    )
    output_of(process)
    return time.monotonic() - started


def devices(folder: Path) -> list[str]:
    """List on which kind of device the runs of a folder were trained."""
    records = [json.loads(path.read_text()) for path in folder.glob("results/runs/**/run.json")]
    return [record["device"] for record in records]


@pytest.mark.stage(seconds=40)
def test_a_sweep_is_trained_and_drawn(stage, device, at_scale, environment, root, tmp_path):
    needs("pyarrow", "snakemake", "matplotlib")
    both = {"family": ["gpt", "masked_diffusion"]}
    config = {
        "defaults": {**SIZE, "epochs": at_scale(4, 50), "eval_every": 2},
        "sweeps": {"base": {}, "families": at_scale({"family": "gpt"}, both)},
        "figures": {"reversal_curve": "base"},
    }
    target = at_scale(["figures"], [])
    given = ["--config", f"hardware={at_scale('cpu', 'gpu')}"]
    took = snakemake(root, tmp_path / "work", environment, config, *target, *given)
    found = devices(tmp_path / "work")
    assert set(found) == {device.type}
    stage.numbers |= {"runs": len(found), "seconds": took}
    assert (tmp_path / "work/results/figures/reversal_curve.pdf").stat().st_size > 1000
    if device.type == "cpu":
        stage.notes.append("hardware=cpu, figures only")


# (h) pretrained models


@pytest.mark.stage(seconds=10)
@pytest.mark.parametrize("kind", ["masked_lm", "causal"])
def test_a_tiny_pretrained_model_is_probed_and_fine_tuned(stage, tmp_path, kind):
    needs("pyarrow", "transformers")
    import tiny_models
    from reversal_curse.pretrained.probe import probe_pretrained

    save = {"masked_lm": tiny_models.save_masked, "causal": tiny_models.save_causal}[kind]
    given = {"name": "tiny", "kind": kind, "path": str(save(tmp_path / "model"))}
    given |= {"facts": tiny_models.write_facts(tmp_path), "steps": 20, "seeds": 1}
    entry = PretrainedModel(**given, learning_rate=0.003)
    made = probe_pretrained(entry, tmp_path / "out", 1, tmp_path / "checkpoints", 600.0)
    answers = pl.read_parquet(tmp_path / "out/answers.parquet").filter(direction="forward")
    before, after = (answers.filter(stage=name)["nll"].mean() for name in ("before", "after"))
    stage.numbers |= {"nats before": before, "nats after": after}
    stage.numbers["seconds"] = sum(made["seconds"].values())
    assert made["device"] == training_device().type
    assert after < before


# what takes long, if time is left


@pytest.mark.stage(seconds=150)
def test_the_papers_default_is_compiled_with_cuda_graphs(stage, device, measured, capfd):
    """In the precision that `auto` chooses; its memory has the graphs' own."""
    if device.type == "cpu":
        pytest.skip("compiled on a CPU by another stage")
    torch._dynamo.utils.counters.clear()
    settings, found = measured("paper", "always")
    stage.numbers["precision"] = chosen_execution(settings, device).precision
    stage.numbers["steps/s"] = batch_steps(settings) / settings.epochs / found["seconds"]
    stage.numbers["seconds of the first two epochs"] = found["first"]
    stage.numbers["CUDA graphs skipped"] = torch._dynamo.utils.counters["inductor"][
        "cudagraph_skips"
    ]
    assert "not compiled" not in capfd.readouterr().out
    assert not stage.numbers["CUDA graphs skipped"]
    check_memory(stage, settings, found)


@pytest.mark.stage(seconds=70)
def test_four_small_jobs_share_a_gpu(stage, device, environment, root, tmp_path):
    needs("pyarrow", "snakemake")
    if device.type == "cpu":
        pytest.skip("jobs do not share a CPU in this way")
    sizes = {"layers": 2, "heads": 2, "embed_dim": 64, "epochs": 300, "eval_every": 10}
    config = {
        "defaults": SIZE | sizes,
        "sweeps": {"base": {"vocab_size": [80, 84, 88, 92]}},
        "job_minutes": 0,
    }
    for gpus in (1, 4):
        folder = tmp_path / str(gpus)
        asked = ["metrics", "--config", "hardware=gpu", "--resources", f"gpu={gpus}"]
        took = snakemake(root, folder, environment, config, *asked)
        assert devices(folder) == ["cuda"] * 4
        stage.numbers[f"seconds with gpu={gpus}"] = took
    one, four = stage.numbers.values()
    stage.numbers["times as fast"] = one / four


@pytest.mark.stage(seconds=120)
def test_speed_against_the_official_code(stage, device, measured, environment):
    if "OFFICIAL" not in environment:
        pytest.skip("OFFICIAL= and OFFICIAL_PYTHON= are not given")
    paths = Path(environment["OFFICIAL"]), Path(environment["OFFICIAL_PYTHON"])
    for name in ("narrow", "middle"):
        settings, found = measured(name)
        shape = {n: getattr(settings, n) for n in ("layers", "embed_dim", "heads")}
        one = training.official_seconds(*paths, shape, 40)
        stage.numbers[f"{name}: times as fast"] = settings.seeds * one / found["seconds"]
