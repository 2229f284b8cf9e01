"""Looking at a run: it is evaluated, and probed, whenever either is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import torch

from reversal_curse.probes.learner import Learner
from reversal_curse.registry import PROBES
from reversal_curse.tables import TABLES
from reversal_curse.training.metrics import MetricsRecorder
from reversal_curse.training.schedule import PROBE_EPOCHS, EvaluationSchedule


class Observer:
    """Collects the metrics and the probes of a run; training calls `observe` every epoch."""

    def __init__(self, learner: Learner, measure: Callable[[torch.Tensor], torch.Tensor]):
        settings = learner.settings
        self.learner = learner
        self.measure = measure
        splits = {s: learner.sentences(pl.col("split") == s) for s in ("train", "unseen")}
        self.sentences = torch.cat(list(splits.values()), 1)
        self.recorder = MetricsRecorder(
            settings, learner.dataset.seeds, {s: part.shape[1] for s, part in splits.items()}
        )
        self.schedule = EvaluationSchedule(settings.epochs, settings.eval_every)
        self.probes = {
            name: (probe.load().probe, PROBE_EPOCHS[probe.when](settings.epochs))
            for name, probe in PROBES.items()
            if settings.family in probe.families
        }
        self.frames = {name: [TABLES[name].empty()] for name in self.probes}

    @torch.no_grad()
    def observe(self, epoch: int) -> None:
        """Evaluate and probe what is due after `epoch` passes over the training set."""
        if self.schedule.due(epoch):
            self.recorder.record(epoch, self.measure(self.sentences))
            if self.schedule.reported(epoch):
                line = self.recorder.last_line()
                print(f"epoch {epoch} of {self.schedule.epochs}: {line}", flush=True)
        for name, (probe, epochs) in self.probes.items():
            if epoch in epochs:
                frame = probe(self.learner).with_columns(epoch=pl.lit(epoch))
                self.frames[name].append(TABLES[name].conform(frame))
                # What a probe leaves in PyTorch's keeping, the recording of CUDA graphs cannot use.
                torch.cuda.empty_cache()

    def state(self) -> dict[str, Any]:
        """Everything seen so far, the probes' tables as bytes."""
        probed = {name: _to_bytes(pl.concat(frames)) for name, frames in self.frames.items()}
        return {"metrics": self.recorder.state(), "probes": probed}

    def restore(self, state: dict[str, Any]) -> None:
        """Have seen what `state` holds, and nothing else."""
        self.recorder.restore(state["metrics"])
        self.frames = {name: [_from_bytes(content)] for name, content in state["probes"].items()}

    def tables(self) -> dict[str, pl.DataFrame]:
        """Everything seen: `metrics`, and one table per probe, by seed and then by epoch."""
        tables = {"metrics": self.recorder.table()}
        for name, frames in self.frames.items():
            keys = [key for key in ("seed", "epoch") if key in TABLES[name].schema]
            tables[name] = pl.concat(frames).sort(keys, maintain_order=True)
        return tables


def _to_bytes(frame: pl.DataFrame) -> torch.Tensor:
    return torch.frombuffer(bytearray(frame.write_ipc(None).getvalue()), dtype=torch.uint8)


def _from_bytes(content: torch.Tensor) -> pl.DataFrame:
    return pl.read_ipc(content.cpu().numpy().tobytes())
