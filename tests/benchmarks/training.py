"""Training against the official code and a plain loop: ratios measured in turn, and the ceiling.

    python tests/benchmarks/training.py [--official FOLDER --official-python PYTHON]

FOLDER is a checkout of the official code of Zhu et al. 2024, PYTHON an interpreter that has
what it needs. Writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
from ceilings import floor_seconds, memory_rate, product_rate, threads

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs/benchmarks.md"
# Shape, seeds, epochs to time: ours, and another's of one seed.
CASES = [
    ({"layers": 1, "embed_dim": 20, "heads": 2}, 10, 60, 40),
    ({"layers": 4, "embed_dim": 128, "heads": 4}, 1, 30, 20),
    ({"layers": 24, "embed_dim": 768, "heads": 12}, 1, 1, 1),
]


def _json(script: str, shape: dict, epochs: int) -> float:
    command = [sys.executable, str(HERE / script), json.dumps(shape), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def _official(folder: Path, python: Path, shape: dict, epochs: int) -> float:
    """Seconds per epoch of one seed: the difference of a short and a longer run."""

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


def _rows(official: tuple[Path, Path] | None, repeats: int) -> list[str]:
    products, memory = product_rate(), memory_rate()
    lines = [
        f"Ceilings measured in the same call: {products / 1e9:.0f} GFLOP/s (float32 products), "
        f"{memory / 1e9:.0f} GB/s (memory).",
        "",
        "| layers, d, seeds | ours | official code | ratio | plain loop | ratio | floor |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for shape, seeds, epochs, others in CASES:
        times: dict[str, list[float]] = {"ours": [], "official": [], "plain": []}
        for _ in range(repeats):
            times["ours"].append(_json("ours.py", {**shape, "seeds": seeds}, epochs))
            times["plain"].append(seeds * _json("plain.py", shape, others))
            if official:
                times["official"].append(seeds * _official(*official, shape, others))
        ours = statistics.median(times["ours"])
        cells = [f"{shape['layers']}, {shape['embed_dim']}, {seeds}", _ms(ours)]
        for name in ("official", "plain"):
            ratios = [b / a for a, b in zip(times["ours"], times[name], strict=False)]
            cells += (
                [_ms(statistics.median(times[name])), f"{statistics.median(ratios):.1f}x"]
                if ratios
                else ["-", "-"]
            )
        floor = floor_seconds(shape["layers"], shape["embed_dim"], seeds, products, memory)
        lines.append(f"| {' | '.join([*cells, _ms(floor)])} |")
        print(lines[-1], flush=True)
    return lines


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--official-python", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if bool(options.official) != bool(options.official_python):
        parser.error("--official and --official-python go together")
    official = (options.official, options.official_python) if options.official else None
    torch.set_num_threads(threads())
    page = [
        "# Benchmarks",
        "",
        f"`make benchmark`, {date.today().isoformat()}: {_processor()}, {threads()} threads, no GPU"
        f", PyTorch {torch.__version__}.",
        "",
        "An epoch of the reversal task: V = 800, batch 64, evaluated every epoch, metrics kept;",
        f"median of {options.repeats}, measured in turn. The official code and the plain loop "
        "(Hugging Face GPT-2,",
        "`tests/benchmarks/plain.py`) train one seed at a time, so their time for several is a "
        "multiple.",
        "",
        *_rows(official, options.repeats),
    ]
    PAGE.write_text("\n".join(page) + "\n", encoding="utf-8")


def _processor() -> str:
    """The processor as the system names it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
