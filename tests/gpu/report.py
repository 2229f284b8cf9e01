"""The report of the stages: which passed, how long each took, and its numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch

from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.provenance import commit, versions

DRIVER = Path("/proc/driver/nvidia/version")


def head(device: torch.device) -> dict[str, str]:
    """Describe what the stages run on."""
    on_gpu = device.type == "cuda"
    driver = DRIVER.read_text().splitlines()[0] if DRIVER.exists() else "none"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else "CPU, tiny shapes",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "driver": driver.removeprefix("NVRM version: "),
        **versions(["numpy", "transformers"]),
        "commit": commit() or "unknown",
        "date": date.today().isoformat(),
    }


@dataclass
class Stage:
    """What is known about a stage; tests add numbers, and notes on what was left out."""

    planned: float
    """Seconds on a data-centre GPU, as planned."""
    result: str = "not run"
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Say all of it in one line."""
        numbers = [f"{key}: {_written(value)}" for key, value in self.numbers.items()]
        return f"{name}: {self.result}, {self.seconds:.1f} s; " + "; ".join([*numbers, *self.notes])


@dataclass
class Report:
    """All stages of a run, of which some may not have run."""

    folder: Path
    head: dict[str, str]
    stages: dict[str, Stage]

    def write(self) -> None:
        """Write `report.json` and `report.md`, each whole or not at all."""
        stages = {name: asdict(stage) for name, stage in self.stages.items()}
        content = json.dumps({**self.head, "stages": stages}, indent=2) + "\n"
        for name, text in (("report.json", content), ("report.md", self._page())):
            with replacing(self.folder / name) as partial:
                partial.write_text(text, encoding="utf-8")

    def _page(self) -> str:
        results = [stage.result for stage in self.stages.values()]
        counts = ", ".join(f"{results.count(one)} {one}" for one in dict.fromkeys(results))
        seconds = sum(stage.seconds for stage in self.stages.values())
        rows = [
            f"| {name} | {stage.result} | {stage.seconds:.1f} ({stage.planned:.0f}) | "
            f"{stage.line('').partition('; ')[2].replace('|', '/')} |"
            for name, stage in self.stages.items()
        ]
        return "\n".join(
            [
                f"# On {self.head['device']}",
                "",
                f"`make test-gpu`: {counts}, in {seconds:.0f} s.",
                "",
                *(f"* {key}: {value}" for key, value in self.head.items()),
                "",
                "| stage | result | seconds (planned) | numbers |",
                "| --- | --- | --- | --- |",
                *rows,
                "",
            ]
        )


def _written(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
