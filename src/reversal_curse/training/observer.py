"""Looking at a run: it is evaluated, and probed, whenever either is due."""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.probes.learner import Learner
from reversal_curse.registry import PROBES, TASKS
from reversal_curse.tables import TABLES
from reversal_curse.training.metrics import MetricsRecorder
from reversal_curse.training.schedule import PROBE_EPOCHS, EvaluationSchedule


class Observer:
    """Collects the metrics and the probes of a run; training calls `observe` every epoch."""

    def __init__(self, learner: Learner):
        settings = learner.settings
        self.learner = learner
        self.answer = TASKS[settings.task].answer_length(settings)
        self.splits = {
            split: learner.sentences(pl.col("split") == split) for split in ("train", "unseen")
        }
        self.recorder = MetricsRecorder(settings, learner.dataset.seeds)
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
            for split, sentences in self.splits.items():
                logits = self.learner.ask(sentences)
                self.recorder.record(epoch, split, logits, sentences[:, :, -self.answer :])
            self.schedule.report(epoch, self.recorder.last_line(len(self.splits)))
        for name, (probe, epochs) in self.probes.items():
            if epoch in epochs:
                frame = probe(self.learner).with_columns(epoch=pl.lit(epoch))
                self.frames[name].append(TABLES[name].conform(frame))

    def state(self) -> dict[str, torch.Tensor]:
        """Everything seen so far, as bytes."""
        seen = {"metrics": self.recorder.frames, **self.frames}
        return {name: _to_bytes(pl.concat(frames)) for name, frames in seen.items() if frames}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Have seen what `state` holds, and nothing else."""
        seen = {name: [_from_bytes(content)] for name, content in state.items()}
        self.recorder.frames = seen.pop("metrics", [])
        self.frames = seen

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
