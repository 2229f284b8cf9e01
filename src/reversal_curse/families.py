"""The families. To add one, list it here and write a file in `training/` that starts its runs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from reversal_curse.tasks import TASKS
from reversal_curse.tasks.masking_arms import MASKINGS


@dataclass(frozen=True)
class Work:
    """The work of training all seeds of a grid point, by kind; `config/cost.py` has the prices."""

    launches: float
    """Layers times steps."""
    tokens: float = 0
    """Tokens through layers."""
    products: float = 0
    """Floating-point operations of matrix products."""
    weights: float = 0
    """Parameters times steps."""


@dataclass(frozen=True)
class Family:
    """How a family is trained and drawn, and its cost; functions take a grid point's `Settings`."""

    name: str
    """What plots call it."""
    colour: str
    description: str
    start: str
    """`module:function`; it maps (settings, dataset, device) to a `Training` at epoch 0."""
    parts: frozenset[str]
    """Its parts; it has the settings with one of these, or nothing, as their `of`."""
    tasks: tuple[str, ...]
    """Tasks that it can learn."""
    work: Callable[[Any], Work]
    memory: Callable[[Any], float]
    """Estimated peak of one seed's parameters, gradients, moments and activations, in bytes."""
    precision: str = "float32"
    """Its precision if it lacks the setting `precision`."""
    probes: tuple[str, ...] = ()
    """Modules of `reversal_curse.probes` that measure it in training."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Name the Parquet tables that its runs write."""
        return ("metrics", *self.probes)

    def load_probes(self) -> dict[str, ModuleType]:
        return {name: import_module(f"reversal_curse.probes.{name}") for name in self.probes}

    def load_start(self) -> Callable:
        module, function = self.start.split(":")
        return getattr(import_module(module), function)


def _trained_answers(settings: Any) -> int:
    """Count the tokens of a sentence that a causal model is trained to predict."""
    task = TASKS[settings.task]
    if settings.copy_first != "none":
        return task.length(settings)
    return task.answer_length(settings) if settings.loss_on == "answer" else task.length(settings)


def _length(settings: Any) -> int:
    """Count the tokens that a transformer reads with a sentence."""
    return TASKS[settings.task].length(settings) * (1 if settings.copy_first == "none" else 2)


def _masked_tokens(settings: Any) -> int:
    """Count the tokens of a sentence that masked diffusion is trained to predict."""
    length = TASKS[settings.task].length(settings)
    masked = MASKINGS[settings.masking].masked
    return masked(length, settings.entity_length) if masked else length


def batch_steps(settings: Any) -> int:
    """Count the steps of a training on batches."""
    sentences = TASKS[settings.task].sentences(settings)
    return settings.epochs * math.ceil(sentences / settings.batch_size)


def _transformer_work(asked: Callable[[Any], int]) -> Callable[[Any], Work]:
    def work(settings: Any) -> Work:
        task, d, seeds = TASKS[settings.task], settings.embed_dim, settings.seeds
        sentences, length = task.sentences(settings), _length(settings)
        words, epochs = task.vocabulary(settings), settings.epochs
        steps = batch_steps(settings)
        # An evaluation costs a third of training on the same sentences: it goes forward only.
        passes = epochs + epochs / settings.eval_every / 3
        read = asked(settings)
        # The last block computes only keys and values, a quarter of its work, at all tokens.
        through = (settings.layers - 1) * length + length / 4 + read * 3 / 4
        tokens = seeds * sentences * passes * through
        block = (12 if settings.mlp else 4) * d * d
        products = 6 * (tokens * block + seeds * sentences * passes * read * d * words)
        if settings.optimizer == "muon":  # five steps towards orthogonal matrices
            products += steps * seeds * settings.layers * 24 * block * d
        weights = steps * seeds * (settings.layers * block + 2 * words * d)
        return Work(steps * settings.layers, tokens, products, weights)

    return work


def _transformer_memory(asked: Callable[[Any], int]) -> Callable[[Any], float]:
    def memory(settings: Any) -> float:
        task, d = TASKS[settings.task], settings.embed_dim
        words, length = task.vocabulary(settings), _length(settings)
        sentences = task.sentences(settings)
        parameters = (12 if settings.mlp else 4) * settings.layers * d**2 + 2 * words * d
        # Weights, two moments, and three gradients of the gradient probe, while CUDA graphs still
        # hold the memory of training's own gradients.
        weights = 4 * 7 * parameters
        read_out = 4 * words * asked(settings)
        kept = 4 * length * d * 36 * settings.layers  # for the backward pass
        passing = 4 * length * d * 14
        training = min(settings.batch_size, sentences) * (kept + 4 * read_out)
        evaluation = sentences * (passing + 5 * read_out)
        return weights + max(training, evaluation)

    return memory


def _one_layer_work(settings: Any) -> Work:
    words, steps = TASKS[settings.task].vocabulary(settings), settings.epochs * settings.seeds
    products = 12 * steps * words**3 if settings.factorised else 0  # in double precision
    return Work(settings.epochs, products=products, weights=steps * words**2)


def _one_layer_memory(settings: Any) -> float:
    """Estimate the bytes of Y, Z, their gradients, and the rows of Y that sentences read."""
    task = TASKS[settings.task]
    words = task.vocabulary(settings)
    return 8 * (8 * words**2 + 4 * task.sentences(settings) * task.length(settings) * words)


def _bilinear_work(settings: Any) -> Work:
    task, d = TASKS[settings.task], settings.embed_dim
    steps = settings.epochs * settings.seeds
    pairs = task.sentences(settings) * task.vocabulary(settings)
    return Work(settings.epochs, products=4 * steps * pairs * d, weights=steps * d**2)


def _bilinear_memory(settings: Any) -> float:
    task, d = TASKS[settings.task], settings.embed_dim
    words = task.vocabulary(settings)
    return 4 * (4 * d**2 + 2 * words * d + 10 * task.sentences(settings) * words)


_TRANSFORMER = {
    "embeddings",
    "transformer",
    "batches",
    "words",
    "distance",
    "train_facts",
    "remedies",
}

# Colours of Okabe and Ito's palette.
FAMILIES = {
    "gpt": Family(
        name="autoregressive",
        colour="#D55E00",
        description="GPT-2 from scratch, on shuffled batches",
        start="reversal_curse.training.gpt:start",
        parts=frozenset(_TRANSFORMER | {"next_token", "bridge", "marker", "mask_rate"}),
        tasks=tuple(TASKS),
        work=_transformer_work(_trained_answers),
        memory=_transformer_memory(_trained_answers),
        probes=("logits", "embeddings", "gradients", "chain_of_thought", "asymmetry"),
    ),
    "masked_diffusion": Family(
        name="masked diffusion",
        colour="#0072B2",
        description="bidirectional encoder, masked diffusion with tokens masked in any order",
        start="reversal_curse.training.masked_diffusion:start",
        parts=frozenset(_TRANSFORMER | {"masking", "mask_rate"}),
        tasks=("facts", "reversal", "chain", "inverse"),
        work=_transformer_work(_masked_tokens),
        memory=_transformer_memory(_masked_tokens),
        probes=("embeddings", "attention", "gradients", "chain_of_thought"),
    ),
    "one_layer": Family(
        name="one layer",
        colour="#009E73",
        description="one-layer transformer in terms of Y (output) and Z (attention), orthonormal "
        "embeddings, gradient descent from zero",
        start="reversal_curse.training.one_layer:start",
        parts=frozenset({"attention_z", "loss", "words", "distance", "train_facts"}),
        tasks=("facts", "reversal", "chain", "chain_related", "in_context"),
        work=_one_layer_work,
        memory=_one_layer_memory,
        precision="float64",
        probes=("weights", "sentence_nll", "chain_of_thought"),
    ),
    "bilinear": Family(
        name="bilinear",
        colour="#555555",
        description="logits x^T Theta y over fixed random embeddings, full-batch gradient descent",
        start="reversal_curse.training.bilinear:start",
        parts=frozenset({"embeddings", "loss", "random_start"}),
        tasks=("reversal",),
        work=_bilinear_work,
        memory=_bilinear_memory,
        probes=("weights", "separation"),
    ),
}
