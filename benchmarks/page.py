"""Run every benchmark and write docs/benchmarks.md.

    python benchmarks/page.py [--official FOLDER --official-python PYTHON]

FOLDER is a checkout of the official code of Zhu et al. 2024, PYTHON an interpreter with
the packages that it needs.
"""

from __future__ import annotations

import argparse
import platform
from datetime import date
from pathlib import Path

import scale
import torch
import training
from ceilings import device, threads

PAGE = Path(__file__).parent.parent / "docs/benchmarks.md"


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
        f"`make benchmark`, {date.today().isoformat()}: {_processor()}, {threads()} threads, "
        f"{_gpu()}, PyTorch {torch.__version__}.",
        "",
        "## Training",
        "",
        "An epoch of the reversal task: V = 800, batch 64, evaluated every epoch, metrics kept;",
        f"median of {options.repeats}, measured in turn, with the precision and compiling of a run",
        "of 3000 epochs. The official code and the plain loop (Hugging Face GPT-2,",
        "`benchmarks/plain.py`) train one seed at a time, so their time for several is a",
        "multiple. The floor is the time of arithmetic and memory at the ceilings; the last",
        "column is its share of our time.",
        "",
        *training.lines(official, options.repeats),
        "",
        "## The workflow",
        "",
        "`snakemake -n` for a grid: through the profile of a cluster and on this machine, where",
        "many grid points share a job, so that a sweep has at most about 2,000 jobs;",
        "`aggregate`, which gathers the runs' metrics (6,000 rows each) into one table; and",
        "`figure`, from the runs of a sweep. Seconds and peak memory.",
        "The exponent says how the seconds grow: 1 means in proportion.",
        "",
        *scale.lines(),
    ]
    PAGE.write_text("\n".join(page) + "\n", encoding="utf-8")


def _processor() -> str:
    """Return the processor's name, as the system gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str:
    return torch.cuda.get_device_name() if device().type == "cuda" else "no GPU"


if __name__ == "__main__":
    main()
