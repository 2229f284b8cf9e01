"""Everything that is measured on one pretrained model, before and after fine-tuning."""

import json
import platform
import resource
import time
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import torch

from reversal_curse.config.digest import digest_of
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained.answers import measure_answers
from reversal_curse.pretrained.attention import measure_scores
from reversal_curse.pretrained.facts import Questions, facts_version, read_facts
from reversal_curse.pretrained.finetune import add_adapters, finetune
from reversal_curse.pretrained.gradients import measure_gradients
from reversal_curse.pretrained.loading import Loaded, check_loadable, from_folder, load
from reversal_curse.pretrained.model_folder import find_model, weights_version
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.files import write_table
from reversal_curse.tables.provenance import PRETRAINED_VERSION, VERSION, commit
from reversal_curse.tables.schemas import PRETRAINED_TABLES
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.interruption import Interruption
from reversal_curse.training.memory import release_memory

MEASURES = {"answers": measure_answers, "scores": measure_scores, "gradients": measure_gradients}


def probe_pretrained(
    entry: PretrainedModel,
    output: Path,
    threads: int,
    checkpoint_folder: Path | None = None,
    checkpoint_seconds: float = 600.0,
) -> None:
    """Measure a model, fine-tune it seed by seed, measure each; write tables and `run.json`.

    Raises UserError where facts or checkpoint are not as they must be, before weights are read;
    Interrupted where it should stop: what fine-tuning reached is kept in `checkpoint_folder`.
    """
    started = time.time()
    torch.set_num_threads(threads)
    facts = read_facts(entry.facts)
    checkpoint = find_model(entry, weights=False)
    tokenizer = from_folder(checkpoint)
    questions = Questions.of(facts, tokenizer, entry.shifted)
    check_loadable(checkpoint, tokenizer)
    if entry.hub:
        checkpoint = find_model(entry)
    versions = [facts_version(entry.facts), weights_version(entry), PRETRAINED_VERSION]
    key = digest_of([entry.model_dump(), *versions, torch.__version__])
    kept = checkpoint_folder / key if checkpoint_folder else None
    seconds: dict[str, float] = {}
    tables: dict[str, list[pl.DataFrame]] = {name: [] for name in MEASURES}

    def measure(loaded: Loaded, stage: str, seed: int) -> None:
        at = time.time()
        keys = {"model": entry.name, "kind": entry.kind, "seed": seed, "stage": stage}
        for name, measured in MEASURES.items():
            frame = measured(loaded, questions).with_columns(**{k: pl.lit(keys[k]) for k in keys})
            tables[name].append(PRETRAINED_TABLES[name].conform(frame))
        seconds[f"measure {stage} {seed}"] = round(time.time() - at, 3)
        answers = tables["answers"][-1].group_by("direction", maintain_order=True)
        means = answers.agg(pl.col("nll", "exact").mean()).rows()
        words = "; ".join("{} {:.3g} nats per token, {:.0%} right".format(*row) for row in means)
        print(f"{entry.name}: {stage} fine-tuning, seed {seed}: {words}", flush=True)

    with Interruption() as interruption:
        loaded = load(checkpoint, tokenizer)
        measure(loaded, "before", 0)
        for seed in range(entry.seeds if entry.steps else 0):
            if seed:
                del loaded  # the weights before are read again: they would not fit beside these
                release_memory()
                loaded = load(checkpoint, tokenizer)
            if entry.trained == "lora":
                add_adapters(loaded, seed)
            at = time.time()
            states = Checkpoints(kept / f"seed_{seed}", checkpoint_seconds) if kept else None
            finetune(loaded, questions.right["forward"], seed, states, interruption)
            seconds[f"fine-tune {seed}"] = round(time.time() - at, 3)
            measure(loaded, "after", seed)
    for name, frames in tables.items():
        write_table(output / f"{name}.parquet", pl.concat(frames), PRETRAINED_TABLES[name])
    record = {
        **_record(loaded),
        "parameters": checkpoint.parameters,
        "threads": threads,
        "started": datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds"),
        "seconds": seconds,
        "wall_seconds": round(time.time() - started, 3),
    }
    with replacing(output / "run.json") as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if kept:
        Checkpoints(kept, checkpoint_seconds).clear()


def _record(loaded: Loaded) -> dict[str, Any]:
    """Tell what is known of a model, the code and the machine; memory in bytes."""
    entry, model = loaded.entry, loaded.model
    gpus = range(torch.cuda.device_count()) if loaded.device.type == "cuda" else []
    libraries = ("torch", "transformers", "peft")
    return {
        "entry": entry.model_dump(),
        "facts": facts_version(entry.facts),
        "architecture": type(model.get_base_model() if entry.trained == "lora" else model).__name__,
        "words": len(loaded.tokenizer),
        "commit": commit(),
        "versions": {
            "reversal_curse": VERSION,
            "pretrained": PRETRAINED_VERSION,
            "python": platform.python_version(),
            **{library: version(library) if find_spec(library) else None for library in libraries},
        },
        "device": loaded.device.type,
        "device_names": [torch.cuda.get_device_name(gpu) for gpu in gpus] or [platform.machine()],
        "peak_memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "peak_gpu_memory": [torch.cuda.max_memory_allocated(gpu) for gpu in gpus],
    }
