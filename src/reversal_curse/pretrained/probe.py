"""Everything that is measured on one pretrained model, before and after fine-tuning."""

import platform
import resource
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch

from reversal_curse.config.digest import digest_of
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained import facts, finetune, loading, model_folder
from reversal_curse.pretrained.answers import measure_answers
from reversal_curse.pretrained.attention import measure_scores
from reversal_curse.pretrained.gradients import measure_gradients
from reversal_curse.pretrained.remedies import training_sentences
from reversal_curse.tables.files import write_table
from reversal_curse.tables.provenance import LIBRARIES, code_of_probe, made_since
from reversal_curse.tables.schemas import PRETRAINED_TABLES
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.interruption import Interruption
from reversal_curse.training.memory import release_memory

MEASURES = {"answers": measure_answers, "scores": measure_scores, "gradients": measure_gradients}


def probe_pretrained(
    entry: PretrainedModel,
    output: Path,
    threads: int,
    checkpoint_folder: Path,
    checkpoint_seconds: float,
) -> dict[str, Any]:
    """Measure a model, then fine-tune and measure it seed by seed; write tables.

    Returns what its `run.json` says about how it was made. Raises UserError about facts or
    checkpoint before weights are read, and Interrupted if it must stop: `checkpoint_folder` then
    holds the state of fine-tuning.
    """
    started, code = time.time(), code_of_probe()
    torch.set_num_threads(threads)
    known = facts.read_facts(entry.facts)
    checkpoint = model_folder.find_model(entry, weights=False)
    tokenizer = loading.from_folder(checkpoint)
    questions = facts.Questions.of(known, tokenizer, entry.shifted)
    sentences = training_sentences(entry, questions, tokenizer)
    loading.check_loadable(checkpoint, tokenizer)
    if entry.hub:
        checkpoint = model_folder.find_model(entry)
    weights = model_folder.folder_digests(entry)
    key = digest_of([entry.model_dump(), facts.facts_version(entry.facts), weights, code])
    kept = Checkpoints(checkpoint_folder / key, checkpoint_seconds)
    seconds: dict[str, float] = {}
    tables: dict[str, list[pl.DataFrame]] = {name: [] for name in MEASURES}

    def measure(loaded: loading.Loaded, stage: str, seed: int) -> None:
        begun = time.time()
        state = {"model": pl.lit(entry.name), "arm": pl.lit(entry.arm), "kind": pl.lit(entry.kind)}
        state |= {"seed": pl.lit(seed), "stage": pl.lit(stage)}
        for name, measured in MEASURES.items():
            frame = measured(loaded, questions).with_columns(**state)
            tables[name].append(PRETRAINED_TABLES[name].conform(frame))
        seconds[f"measure {stage} {seed}"] = round(time.time() - begun, 3)
        by_direction = tables["answers"][-1].group_by("direction", maintain_order=True)
        means = by_direction.agg(pl.col("nll", "exact", "accuracy_choice").mean()).rows()
        form = "{} {:.3g} nats per token, {:.0%} said, {:.0%} known"
        words = "; ".join(form.format(*row) for row in means)
        print(f"{entry.name}: {stage} fine-tuning, seed {seed}: {words}", flush=True)

    with Interruption() as interruption:
        loaded = loading.load(checkpoint, tokenizer)
        measure(loaded, "before", 0)
        for seed in range(entry.seeds if entry.steps else 0):
            if seed:
                del loaded  # a second copy of the weights would not fit
                release_memory()
                loaded = loading.load(checkpoint, tokenizer)
            if entry.trained == "lora":
                finetune.add_adapters(loaded, seed)
            begun = time.time()
            states = kept.below(f"seed_{seed}")
            finetune.finetune(loaded, sentences, seed, states, interruption)
            seconds[f"fine-tune {seed}"] = round(time.time() - begun, 3)
            measure(loaded, "after", seed)
    for name, frames in tables.items():
        write_table(output / f"{name}.parquet", pl.concat(frames), PRETRAINED_TABLES[name])
    model = loaded.model.get_base_model() if entry.trained == "lora" else loaded.model
    gpus = range(torch.cuda.device_count()) if loaded.device.type == "cuda" else []
    kept.clear()
    return {
        "entry": entry.model_dump(),
        "arm": entry.arm,
        "facts": facts.facts_version(entry.facts),
        "sentences": len(sentences),
        "weights": weights,
        "architecture": type(model).__name__,
        "words": len(tokenizer),
        "device": loaded.device.type,
        "device_names": [torch.cuda.get_device_name(gpu) for gpu in gpus] or [platform.machine()],
        "peak_memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # bytes
        "peak_gpu_memory": [torch.cuda.max_memory_allocated(gpu) for gpu in gpus],
        "parameters": checkpoint.parameters,
        "threads": threads,
        "seconds": seconds,
        "code": code,
        **made_since(started, LIBRARIES),
    }
