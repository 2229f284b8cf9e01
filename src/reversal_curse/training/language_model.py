"""Train the seeds of a `gpt` grid point as one batch: AdamW on shuffled batches."""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.models.gpt import GPT
from reversal_curse.probes.embeddings import embedding_table
from reversal_curse.probes.logits import logit_table
from reversal_curse.randomness import Dropout, no_dropout, seed_generators, stacked_permutations
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Dataset
from reversal_curse.training.metrics import MetricsRecorder, answer_nll
from reversal_curse.training.schedule import EvaluationSchedule


def build_model(settings: Settings, dataset: Dataset, device: torch.device) -> GPT:
    """The untrained models of all seeds; drawn on the CPU, so alike on every device."""
    vocabulary = settings.vocab_size + TASKS[settings.task].relations(settings)
    generators = seed_generators(dataset.seeds, "init")
    return GPT(settings, vocabulary, dataset.length - 1, generators).to(device)


def train(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, pl.DataFrame]:
    """Train every seed of a grid point; returns the tables `metrics`, `logits`, `embeddings`.

    The seeds' losses are summed, so that each seed's gradient, and AdamW's elementwise
    update, are those of training it alone. Zhu et al. 2024, section 5 and appendix.
    """
    model = build_model(settings, dataset, device)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    order = seed_generators(dataset.seeds, "order")
    dropout = no_dropout
    if settings.dropout:
        noise = seed_generators(dataset.seeds, "dropout", device)
        dropout = Dropout(noise, settings.dropout)
    splits = {
        name: torch.from_numpy(dataset.split(name)).to(device) for name in ("train", "unseen")
    }
    sentences = splits["train"]
    answer = TASKS[settings.task].answer_length(settings)
    trained_tokens = answer if settings.loss_on == "answer" else dataset.length - 1
    recorder = MetricsRecorder(settings, dataset.seeds)
    schedule = EvaluationSchedule(settings.epochs, settings.eval_every)

    for epoch in range(settings.epochs + 1):
        if schedule.due(epoch):
            line = _evaluate(model, splits, epoch, answer, recorder)
            schedule.report(epoch, line)
        if epoch == settings.epochs:
            break
        permutation = stacked_permutations(order, sentences.shape[1]).to(device)
        for chosen in permutation.split(settings.batch_size, dim=1):
            batch = sentences.gather(1, chosen[..., None].expand(-1, -1, dataset.length))
            logits = model(batch[:, :, :-1], trained_tokens, dropout)
            loss = answer_nll(logits, batch[:, :, -trained_tokens:]).mean((1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return {
        "metrics": recorder.table(),
        "logits": logit_table(model, settings, dataset, device),
        "embeddings": embedding_table(model.embeddings(), settings, dataset),
    }


@torch.no_grad()
def _evaluate(
    model: GPT,
    splits: dict[str, torch.Tensor],
    epoch: int,
    answer: int,
    recorder: MetricsRecorder,
) -> str:
    """Record both splits without dropout; returns a line for the log."""
    parts = []
    for split, tokens in splits.items():
        logits = model(tokens[:, :, :-1], answer)
        nll, accuracy = recorder.record(epoch, split, logits, tokens[:, :, -answer:])
        parts.append(f"{split} NLL {nll:.3f} nats, accuracy {accuracy:.2f}")
    return "; ".join(parts)
