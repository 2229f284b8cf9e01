"""Observe a run: evaluate and probe its models at the epochs when either is due."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import polars as pl
import torch

from reversal_curse.families import FAMILIES
from reversal_curse.models.choice import CHANCES, Choices
from reversal_curse.models.learner import MEASURES, Learner
from reversal_curse.models.likelihood import ANSWER_MEASURES
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tasks import TASKS


class Observer:
    """Collects the metrics and probes of a run, on the device until they are needed."""

    def __init__(self, learner: Learner, measure: Callable[[torch.Tensor, Choices], torch.Tensor]):
        self.learner = learner
        self.settings = learner.settings
        self.measure = measure
        splits = TASKS[self.settings.task].splits
        parts = {name: learner.sentences(condition) for name, condition in splits.items()}
        self.sizes = {name: part.shape[1] for name, part in parts.items()}
        self.sentences = torch.cat(list(parts.values()), 1)
        self.choices = Choices.of(
            learner.dataset, splits.values(), learner.answer_length, learner.device
        )
        due = evaluation_epochs(self.settings.epochs, self.settings.eval_every)
        self.due = set(due)
        # Candidates that must be read one by one are read at a dozen evaluations, and not of the
        # training sentences, which are most of all and come first.
        self.chosen, self.read = due, 0
        if not learner.answers_at_once:
            self.read = self.sizes["train"]
            others = self.sentences.shape[1] > self.read
            places = probe_epochs("sparse", len(due) - 1) if others else ()
            self.chosen = [due[place] for place in sorted(places)]
        self.logged = {*due[:: max(1, len(due) // 10)], due[-1]}  # about ten times in a run
        self.epochs: list[int] = []
        self.means: list[torch.Tensor] = []  # (splits, measures, S), one for each evaluation
        self.probes = {
            name: (module.probe, probe_epochs(module.WHEN, self.settings.epochs))
            for name, module in FAMILIES[self.settings.family].load_probes().items()
        }
        self.frames = {name: [TABLES[name].empty()] for name in self.probes}

    @torch.no_grad()
    def observe(self, epoch: int) -> None:
        """Evaluate and probe what is due after `epoch` passes over the training set."""
        if epoch in self.due:
            values = self.measure(self.sentences, self.choices)
            if epoch in self.chosen and not self.learner.answers_at_once:
                chosen = self.learner.choose(
                    self.sentences[:, self.read :], self.choices.after(self.read)
                )
                values[len(ANSWER_MEASURES) : -len(CHANCES), :, self.read :] = chosen
            parts = values.split(list(self.sizes.values()), -1)
            self.epochs.append(epoch)
            self.means.append(torch.stack([self._mean(part) for part in parts]))
            if epoch in self.logged:
                line = "; ".join(
                    f"{split} NLL {nll:.3f} nats, accuracy {accuracy:.2f}"
                    for split, (nll, _, accuracy, *_) in zip(
                        self.sizes, self.means[-1].mean(-1).tolist(), strict=True
                    )
                )
                print(f"epoch {epoch} of {self.settings.epochs}: {line}", flush=True)
        for name, (probe, epochs) in self.probes.items():
            if epoch in epochs:
                frame = probe(self.learner).with_columns(epoch=pl.lit(epoch))
                self.frames[name].append(TABLES[name].conform(frame))
                # CUDA graphs cannot be recorded in memory that PyTorch caches after a probe.
                torch.cuda.empty_cache()

    def _mean(self, values: torch.Tensor) -> torch.Tensor:
        """Average (measures, S, N) over queries; one that has a single candidate has no rank."""
        ranked = values[MEASURES.index("candidates")] > 1
        means, rank = values.mean(-1), MEASURES.index("rank_choice")
        means[rank] = values[rank].where(ranked, 0).sum(-1) / ranked.sum(-1)
        return means

    def state(self) -> dict[str, Any]:
        """Return everything seen so far, tables of probes as bytes."""
        metrics = {"epochs": torch.tensor(self.epochs), "values": torch.stack(self.means)}
        probed = {}
        for name, frames in self.frames.items():
            content = bytearray(pl.concat(frames).write_ipc(None).getvalue())
            probed[name] = torch.frombuffer(content, dtype=torch.uint8)
        return {"metrics": metrics, "probes": probed}

    def restore(self, state: dict[str, Any]) -> None:
        """Replace everything seen so far by `state`."""
        metrics = state["metrics"]
        self.epochs, self.means = metrics["epochs"].tolist(), list(metrics["values"])
        for name, content in state["probes"].items():
            self.frames[name] = [pl.read_ipc(content.cpu().numpy().tobytes())]

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return everything seen: `metrics`, and a table per probe, by seed and then epoch."""
        rows = list(product(self.epochs, self.sizes, self.learner.dataset.seeds))
        keys = pl.DataFrame(rows, schema=["epoch", "split", "seed"], orient="row")
        means = torch.stack(self.means).transpose(2, 3).reshape(-1, len(MEASURES))
        measured = pl.from_numpy(means.cpu().numpy(), schema=list(MEASURES))
        task = TASKS[self.settings.task]
        metrics = pl.concat((keys, measured), how="horizontal").with_columns(
            chance_vocab=pl.lit(math.log(task.vocabulary(self.settings))),
            chance_class=pl.lit(math.log(task.class_size(self.settings))),
        )
        chosen, several = pl.col("epoch").is_in(self.chosen), pl.col("candidates") > 1
        if self.read:
            chosen &= pl.col("split") != "train"
        metrics = metrics.with_columns(
            pl.when(chosen).then(pl.col("nll_choice", "accuracy_choice", "nll_set")),
            pl.when(chosen & several).then(pl.col("rank_choice")),
        )
        tables = {"metrics": TABLES["metrics"].conform(metrics).sort("seed", "epoch", "split")}
        for name, frames in self.frames.items():
            keys = [key for key in ("seed", "epoch") if key in TABLES[name].schema]
            tables[name] = pl.concat(frames).sort(keys, maintain_order=True)
        return tables


def evaluation_epochs(epochs: int, every: int) -> list[int]:
    """List the epochs to evaluate after: 0, every `every`-th, and the last."""
    return [*range(0, epochs, every), epochs]


def probe_epochs(when: str, epochs: int) -> frozenset[int]:
    """List the epochs to probe after: the last, and those of `when`.

    `dense`: the first hundred, then every 5 % further; a bound that must hold for all t is tightest
    early. `sparse`: 0, 1, 2, 4, 8, ...; what changes during training changes fast at first.
    """
    due = {epochs}
    if when == "dense":
        due.update(range(min(100, epochs) + 1))
        epoch = 100
        while epoch < epochs:
            due.add(epoch)
            epoch = int(epoch * 1.05)
    elif when == "sparse":
        due.update([0], (2**i for i in range((epochs - 1).bit_length())))
    return frozenset(due)
