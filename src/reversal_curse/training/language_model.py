"""Train the seeds of a `gpt` grid point: next-token prediction. Zhu et al. 2024, section 5."""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.models.transformer import Noise, Transformer
from reversal_curse.probes.embeddings import embedding_table
from reversal_curse.probes.logits import logit_table
from reversal_curse.randomness import seed_generators
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Dataset
from reversal_curse.training.metrics import MetricsRecorder, answer_nll
from reversal_curse.training.minibatch import split_tensors, train_batches


def build_model(settings: Settings, dataset: Dataset, device: torch.device) -> Transformer:
    """The untrained models of all seeds; drawn on the CPU, so alike on every device."""
    vocabulary = settings.vocab_size + TASKS[settings.task].relations(settings)
    generators = seed_generators(dataset.seeds, "init")
    length = dataset.length - 1  # the last token is only ever predicted
    return Transformer(settings, vocabulary, length, generators, causal=True).to(device)


def train(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, pl.DataFrame]:
    """Train every seed of a grid point; returns the tables `metrics`, `logits`, `embeddings`."""
    model = build_model(settings, dataset, device)
    answer = TASKS[settings.task].answer_length(settings)
    trained = answer if settings.loss_on == "answer" else dataset.length - 1
    recorder = MetricsRecorder(settings, dataset.seeds)
    splits = split_tensors(dataset, device)

    def loss(sentences: torch.Tensor, dropout: Noise) -> torch.Tensor:
        logits = model(sentences[:, :, :-1], trained, dropout)
        return answer_nll(logits, sentences[:, :, -trained:]).mean((1, 2))

    def evaluate(epoch: int) -> str:
        for split, sentences in splits.items():
            logits = model(sentences[:, :, :-1], answer)
            recorder.record(epoch, split, logits, sentences[:, :, -answer:])
        return recorder.last_line(len(splits))

    train_batches(model, settings, dataset, loss, evaluate, device)
    return {
        "metrics": recorder.table(),
        "logits": logit_table(model, settings, dataset, device),
        "embeddings": embedding_table(model.embeddings(), settings, dataset),
    }
