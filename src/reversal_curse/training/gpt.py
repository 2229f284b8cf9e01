"""Train the seeds of a `gpt` grid point: next-token prediction. Zhu et al. 2024, section 5.

With `copy_first` (masked fine-tuning, arXiv 2510.09885) the model reads a copy of the sentence with
some tokens masked, then learns all of the sentence: a causal model with the objective of a masked
one. In the control random tokens stand for the masks. It is asked after a copy that says nothing:
all masks, or random tokens, the same for all seeds. The source fine-tunes language models and asks
in other words.
"""

import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.learner import Learner
from reversal_curse.models.likelihood import answer_nll
from reversal_curse.models.random_streams import seed_generators, stacked_uniform
from reversal_curse.models.transformer import Noise, Transformer
from reversal_curse.tables.dataset import Dataset
from reversal_curse.tasks import TASKS
from reversal_curse.training.loop import Training
from reversal_curse.training.masking import masked_tokens
from reversal_curse.training.minibatches import minibatches


def build_model(settings: Settings, dataset: Dataset, device: torch.device) -> Transformer:
    """Draw the models of all seeds on the CPU, so that they are the same on every device."""
    task, copies = TASKS[settings.task], settings.copy_first != "none"
    generators = seed_generators(dataset.seeds, "init")
    length = dataset.length * (1 + copies) - 1  # the last token is only ever predicted
    vocabulary, pad = task.vocabulary(settings) + copies, task.pad(settings)
    return Transformer(settings, vocabulary, length, generators, causal=True, pad=pad).to(device)


def start(settings: Settings, dataset: Dataset, device: torch.device) -> Training:
    """Start an untrained run of every seed of a grid point."""
    model = build_model(settings, dataset, device)
    task = TASKS[settings.task]
    answer, words = task.answer_length(settings), task.vocabulary(settings)
    if settings.copy_first != "none":
        return _start_with_copies(settings, dataset, device, model, answer, words)
    trained = answer if settings.loss_on == "answer" else dataset.length - 1

    def loss(sentences: torch.Tensor, dropout: Noise) -> torch.Tensor:
        known = sentences[:, :, :-1]
        nll = answer_nll(model(known, trained, dropout), sentences[:, :, -trained:])
        if model.pad is None:
            return nll.mean((1, 2))
        read = known[:, :, -trained:] != model.pad  # nothing is learned from what only fills up
        return (nll * read).sum((1, 2)) / read.sum((1, 2))

    def ask(sentences: torch.Tensor) -> torch.Tensor:
        return model(sentences[:, :, :-1], answer)

    return minibatches(Learner(settings, dataset, device, model, ask), loss)


def _start_with_copies(
    settings: Settings,
    dataset: Dataset,
    device: torch.device,
    model: Transformer,
    answer: int,
    words: int,
) -> Training:
    noise = seed_generators(dataset.seeds, "copy", device)
    nothing = torch.full((dataset.length,), words, device=device)
    if settings.copy_first == "random":
        (draws,) = stacked_uniform(seed_generators([0], "nothing"), (dataset.length,))
        nothing = (draws * words).long().to(device)

    def prepare(sentences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        masked, _ = masked_tokens(settings, sentences, noise)
        if settings.copy_first == "masked":
            return sentences, sentences.masked_fill(masked, words)
        draws = stacked_uniform(noise, sentences.shape[1:])
        return sentences, torch.where(masked, (draws * words).long(), sentences)

    def loss(sentences: torch.Tensor, copies: torch.Tensor, dropout: Noise) -> torch.Tensor:
        logits = model(torch.cat((copies, sentences[:, :, :-1]), -1), dataset.length, dropout)
        return answer_nll(logits, sentences).mean((1, 2))

    def ask(sentences: torch.Tensor) -> torch.Tensor:
        known = torch.cat((nothing.expand_as(sentences), sentences[:, :, :-1]), -1)
        return model(known, answer)[..., :words]

    training = minibatches(Learner(settings, dataset, device, model, ask), loss, prepare)
    training.generators["copy"] = noise
    return training
