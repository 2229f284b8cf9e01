"""Compare training with the official code and a plain loop, measured in turn, and the ceiling."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ceilings import device, floor_seconds, memory_rate, product_rate

HERE = Path(__file__).parent
NARROW = ({"layers": 1, "embed_dim": 20, "heads": 2}, 10)
MIDDLE = ({"layers": 4, "embed_dim": 128, "heads": 4}, 1)
PAPER = {"layers": 24, "embed_dim": 768, "heads": 12}
# Shape and seeds; then how many epochs to train, ours and the others' (of one seed). The official
# code's time is the difference of two runs whose start takes seconds: its epochs must take several
# times as long as the start varies.
CASES = {
    "cpu": [(*NARROW, 256, 400), (*MIDDLE, 128, 120), (PAPER, 1, 8, 2)],
    "cuda": [(*NARROW, 256, 40), (*MIDDLE, 256, 40), (PAPER, 10, 64, 20)],
}


def _json(script: str, shape: dict, epochs: int) -> dict:
    command = [sys.executable, str(HERE / script), json.dumps(shape), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def official_seconds(folder: Path, python: Path, shape: dict, epochs: int) -> float:
    """Measure the seconds per epoch of one seed: the difference of a short and a longer run."""

    def run(count: int) -> float:
        with tempfile.TemporaryDirectory() as results:
            command = [
                *(str(python.absolute()), "-m", "src.scripts.train_reverse"),
                *("--n_layers", str(shape["layers"]), "--n_heads", str(shape["heads"])),
                *("--embed_dim", str(shape["embed_dim"]), "--num_epochs", str(count)),
                *("--output_dir", results),
            ]
            started = time.perf_counter()
            subprocess.run(command, cwd=folder, capture_output=True, check=True)
            return time.perf_counter() - started

    return (run(1 + epochs) - run(1)) / epochs


def lines(official: tuple[Path, Path] | None, repeats: int) -> list[str]:
    """Return the section of the page. `official` is a checkout and an interpreter for it."""
    products = {name: product_rate(name, device()) for name in ("float32", "bfloat16")}
    memory = memory_rate(device())
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s ({name})" for name, rate in products.items())
    table = [
        f"Ceilings measured in the same call: {rates}, {memory / 1e9:.0f} GB/s (memory).",
        "",
        "| layers, d, seeds | ours | official code | ratio | plain loop | ratio | floor | share |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    notes = []
    for shape, seeds, epochs, others in CASES[device().type]:
        times: dict[str, list[float]] = {"ours": [], "official": [], "plain": []}
        for _ in range(repeats):
            own = _json("ours.py", {**shape, "seeds": seeds}, epochs)
            times["ours"].append(own["seconds"])
            times["plain"].append(seeds * _json("plain.py", shape, others)["seconds"])
            if official:
                times["official"].append(seeds * official_seconds(*official, shape, others))
        ours = statistics.median(times["ours"])
        case = f"{shape['layers']}, {shape['embed_dim']}, {seeds}"
        cells = [case, _ms(ours)]
        for name in ("official", "plain"):
            ratios = [b / a for a, b in zip(times["ours"], times[name], strict=False)]
            cells += (
                [_ms(statistics.median(times[name])), f"{statistics.median(ratios):.1f}x"]
                if ratios
                else ["-", "-"]
            )
        rate = products[own["precision"]]
        floor = floor_seconds(shape["layers"], shape["embed_dim"], seeds, rate, memory)
        table.append(f"| {' | '.join([*cells, _ms(floor), f'{floor / ours:.0%}'])} |")
        how = f"{own['precision']}, {'compiled' if own['compiled'] else 'not compiled'}"
        notes.append(f"({case}): {how}, {own['first']:.0f} s for the first two epochs")
        print(table[-1], notes[-1], flush=True)
    return [*table, "", f"Ours: {'; '.join(notes)}."]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
