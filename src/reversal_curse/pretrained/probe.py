"""Everything that is measured on one pretrained model, before and after fine-tuning."""

from __future__ import annotations

import hashlib
import json
import platform
import resource
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl
import torch

from reversal_curse import __version__
from reversal_curse.atomic import replacing
from reversal_curse.pretrained.answers import Questions, measure_answers
from reversal_curse.pretrained.attention import measure_scores
from reversal_curse.pretrained.checkpoint import (
    Checkpoint,
    find_checkpoint,
    weights_version,
    with_weights,
)
from reversal_curse.pretrained.entry import MEASURED, PretrainedModel
from reversal_curse.pretrained.facts import facts_version, read_facts
from reversal_curse.pretrained.finetune import finetune, with_adapters
from reversal_curse.pretrained.gradients import measure_gradients
from reversal_curse.pretrained.loading import Loaded, check_loadable, load, load_tokenizer
from reversal_curse.provenance import commit
from reversal_curse.registry import PRETRAINED_TABLES
from reversal_curse.tables import write_table
from reversal_curse.training.checkpoint import Checkpoints
from reversal_curse.training.interruption import Interruption
from reversal_curse.training.memory import release_memory
from reversal_curse.versions import PRETRAINED_VERSION

Measures = dict[str, pl.DataFrame]


def probe_pretrained(
    entry: PretrainedModel,
    output: Path,
    threads: int,
    checkpoint_folder: Path | None = None,
    checkpoint_seconds: float = 600.0,
) -> None:
    """Measure a model, fine-tune it seed by seed, measure each; write tables and `run.json`.

    Raises UserError where the entry's facts or checkpoint are not as they must be, before the
    weights are read; Interrupted where a signal or the end of the job's time asks to stop. What
    fine-tuning had reached is kept below `checkpoint_folder`.
    """
    started = time.time()
    torch.set_num_threads(threads)
    facts = read_facts(entry.facts)
    checkpoint = find_checkpoint(entry)
    tokenizer = load_tokenizer(entry, checkpoint)
    questions = Questions.of(facts, tokenizer)
    if entry.shifted:
        questions.check_first_tokens(entry.name)
    check_loadable(entry, checkpoint, tokenizer)
    checkpoint = with_weights(entry, checkpoint)
    kept = checkpoint_folder / run_key(entry) if checkpoint_folder else None
    seconds: dict[str, float] = {}
    parts: list[Measures] = []

    def measure(loaded: Loaded, stage: str, seed: int) -> None:
        at = time.time()
        parts.append(_measure(loaded, questions, stage, seed))
        seconds[f"measure {stage} {seed}"] = round(time.time() - at, 3)
        print(f"{entry.name}: {stage} fine-tuning, seed {seed}: {_in_words(parts[-1])}", flush=True)

    with Interruption() as interruption:
        loaded = load(entry, checkpoint, tokenizer)
        measure(loaded, "before", 0)
        for seed in range(entry.seeds if entry.steps else 0):
            if seed:
                del loaded  # the weights before are read again: they would not fit beside these
                release_memory()
                loaded = load(entry, checkpoint, tokenizer)
            if entry.trained == "lora":
                with_adapters(loaded, seed)
            at = time.time()
            states = Checkpoints(kept / f"seed_{seed}", checkpoint_seconds) if kept else None
            finetune(loaded, questions.right["forward"], seed, states, interruption)
            seconds[f"fine-tune {seed}"] = round(time.time() - at, 3)
            measure(loaded, "after", seed)
    for name in MEASURED:
        frame = pl.concat([part[name] for part in parts])
        write_table(output / f"{name}.parquet", frame, PRETRAINED_TABLES[name])
    record = _record(entry, checkpoint, loaded, threads, started, seconds)
    with replacing(output / "run.json") as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if kept:
        Checkpoints(kept, checkpoint_seconds).clear()


def run_key(entry: PretrainedModel) -> str:
    """Name of a run's checkpoints: of the entry, its facts and weights, and the code."""
    versions = [facts_version(entry.facts), weights_version(entry), PRETRAINED_VERSION]
    versions.append(torch.__version__)
    content = [entry.model_dump(), *versions]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _measure(loaded: Loaded, questions: Questions, stage: str, seed: int) -> Measures:
    """All tables of one state of the model."""
    keys = {"model": loaded.entry.name, "kind": loaded.entry.kind, "seed": seed, "stage": stage}
    measured = {
        "answers": measure_answers(loaded, questions),
        "scores": measure_scores(loaded, questions),
        "gradients": measure_gradients(loaded, questions),
    }
    return {
        name: PRETRAINED_TABLES[name].conform(
            frame.with_columns(**{key: pl.lit(value) for key, value in keys.items()})
        )
        for name, frame in measured.items()
    }


def _in_words(measures: Measures) -> str:
    """Means over facts, for the log."""
    mean = measures["answers"].group_by("direction", maintain_order=True)
    rows = mean.agg(pl.col("nll", "exact").mean()).rows()
    return "; ".join(f"{d} {nll:.3g} nats per token, {exact:.0%} right" for d, nll, exact in rows)


def _record(
    entry: PretrainedModel,
    checkpoint: Checkpoint,
    loaded: Loaded,
    threads: int,
    started: float,
    seconds: dict[str, float],
) -> dict:
    """What is known of a run beside its tables; memory in bytes."""
    gpus = range(torch.cuda.device_count()) if loaded.device.type == "cuda" else []
    model = loaded.model.get_base_model() if entry.trained == "lora" else loaded.model
    return {
        "entry": entry.model_dump(),
        "facts": facts_version(entry.facts),
        "architecture": type(model).__name__,
        "parameters": checkpoint.parameters,
        "words": loaded.words(),
        "commit": commit(),
        "versions": {
            "reversal_curse": __version__,
            "pretrained": PRETRAINED_VERSION,
            "python": platform.python_version(),
            **{package: _version(package) for package in ("torch", "transformers", "peft")},
        },
        "device": loaded.device.type,
        "device_names": [torch.cuda.get_device_name(gpu) for gpu in gpus] or [platform.machine()],
        "peak_memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "peak_gpu_memory": [torch.cuda.max_memory_allocated(gpu) for gpu in gpus],
        "threads": threads,
        "started": datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds"),
        "seconds": seconds,
        "wall_seconds": round(time.time() - started, 3),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
