"""A checkpoint in Hugging Face's format: where it is, and what must hold before it is loaded.

Nothing here runs code from the checkpoint or reads its weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from reversal_curse.errors import UserError, first_line
from reversal_curse.pretrained.entry import PretrainedModel

INSTALL = (
    "install the optional part of this package: pip install -c requirements.lock -e '.[pretrained]'"
)
SMALL_FILES = ["*.json", "*.py", "*.txt", "*.model"]
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OVERHEAD = 8e9
"""Bytes of memory beside the model: Python, its libraries, activations."""
AUTO_CLASSES = {
    "causal": ("AutoModelForCausalLM",),
    "masked_lm": ("AutoModelForMaskedLM",),
    "masked_diffusion": ("AutoModelForMaskedLM", "AutoModel"),
}
"""The classes of transformers that load a kind. AutoModel only with code of the checkpoint's own:
there it is the model with its output layer (LLaDA, Dream)."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that can be loaded, and how."""

    folder: Path
    auto_class: str
    own_code: bool
    """Whether the model's code comes with it."""
    parameters: int
    """Numbers in the weights; on the hub, before they are here, what the entry says."""
    mask_token_id: int | None
    """What `config.json` says of it."""
    vocabulary: int | None
    """How many tokens the model has, where `config.json` says so."""


def find_checkpoint(entry: PretrainedModel) -> Checkpoint:
    """Find and check an entry's checkpoint; raises UserError where it cannot be loaded as said.

    Only an entry of the hub touches the network: its small files are downloaded to the hub's own
    cache, so that a mistake is found before the weights come (`with_weights`).
    """
    if entry.hub is None:
        folder = Path(entry.path)
        if not folder.is_dir():
            raise UserError(f"{entry.name}: path {folder}: no such folder")
    else:
        folder = _download(entry, SMALL_FILES)
    config = _read_config(entry, folder)
    auto_class, own_code = _auto_class(entry, config)
    code = [*_named_code(config), *_named_code(_tokenizer_config(folder))]
    _check_trust(entry, folder, code)
    mask, vocabulary = config.get("mask_token_id"), config.get("vocab_size")
    if entry.hub is None:
        parameters = _checked_count(entry, folder)
    else:
        parameters = int(1e9 * entry.billion_parameters)
    return Checkpoint(folder, auto_class, own_code, parameters, mask, vocabulary)


def with_weights(entry: PretrainedModel, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its weights on disk: downloaded where it is one of the hub."""
    if entry.hub is None:
        return checkpoint
    folder = _download(entry, [*SMALL_FILES, "*.safetensors"])
    return replace(checkpoint, folder=folder, parameters=_checked_count(entry, folder))


def _checked_count(entry: PretrainedModel, folder: Path) -> int:
    parameters, said = count_parameters(entry.name, folder), entry.billion_parameters
    if said and not 0.9 < said / (parameters / 1e9) < 1.1:
        raise UserError(
            f"{entry.name}: billion_parameters {said:g}: the checkpoint has {parameters / 1e9:.3g}"
        )
    return parameters


def _download(entry: PretrainedModel, patterns: list[str]) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(f"{entry.name}: {INSTALL}") from None
    try:
        return Path(snapshot_download(entry.hub, revision=entry.revision, allow_patterns=patterns))
    except Exception as error:  # the library's own errors, and those of the network below it
        where = f"hub {entry.hub} at {entry.revision}"
        raise UserError(f"{entry.name}: {where}: not downloaded: {first_line(error)}") from None


def _read_config(entry: PretrainedModel, folder: Path) -> dict:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no mapping")
    except FileNotFoundError:
        raise UserError(
            f"{entry.name}: {folder}: no config.json: not a checkpoint in Hugging Face's format"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{entry.name}: {path}: not readable: {first_line(error)}") from None
    return config


def _auto_class(entry: PretrainedModel, config: dict) -> tuple[str, bool]:
    """The class of transformers that loads it, and whether its code comes with it."""
    own = config.get("auto_map") or {}
    if "AutoConfig" in own:
        found = [name for name in AUTO_CLASSES[entry.kind] if name in own]
        if entry.causal and config.get("mask_token_id") is not None:
            found = []
        if not found:
            has = ", ".join(sorted(own)) + (", a mask_token_id" if entry.causal else "")
            raise UserError(
                f"{entry.name}: kind {entry.kind} does not fit: its config.json names {has}"
            )
        return found[0], True
    architecture = str((config.get("architectures") or ["nothing"])[0])
    masked = architecture.endswith("ForMaskedLM")
    causal = architecture.endswith(("ForCausalLM", "LMHeadModel")) and not masked
    if not (causal if entry.causal else masked):
        allowed = "causal" if causal else "masked_lm or masked_diffusion" if masked else "no kind"
        raise UserError(
            f"{entry.name}: kind {entry.kind} does not fit: its config.json says {architecture}; "
            f"allowed for that: {allowed}"
        )
    return AUTO_CLASSES[entry.kind][0], False


def _tokenizer_config(folder: Path) -> dict:
    """What is said of the tokenizer, which may have code of its own, too (Dream's does)."""
    try:
        said = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _named_code(config: dict) -> list[str]:
    """The classes that `auto_map` names, as MODULE.CLASS or REPOSITORY--MODULE.CLASS."""
    named = config.get("auto_map") or {}
    values = named.values() if isinstance(named, dict) else named
    lists = [value if isinstance(value, list) else [value] for value in values]
    return [str(name) for names in lists for name in names if name]


def _check_trust(entry: PretrainedModel, folder: Path, code: list[str]) -> None:
    own_code = bool(code)
    elsewhere = next((name for name in code if "--" in name), None)
    if elsewhere:
        raise UserError(
            f"{entry.name}: its code ({elsewhere}) is in another repository, which no revision "
            "pins; use a checkpoint that comes with its code"
        )
    if own_code and not entry.trust_remote_code:
        raise UserError(
            f"{entry.name}: its code comes with the checkpoint ({folder}/*.py); read it, then say "
            "trust_remote_code: true and pin the revision"
        )
    if entry.trust_remote_code and not own_code:
        raise UserError(
            f"{entry.name}: trust_remote_code: the checkpoint has no code of its own; leave it out"
        )
    if own_code and entry.hub is None and entry.revision != code_digest(folder):
        raise UserError(
            f"{entry.name}: revision: the code in {folder} is not the one that was pinned; read "
            f"it, then say revision: {code_digest(folder)}"
        )


def code_digest(folder: Path) -> str:
    """The SHA-1 of the names and contents of the .py files of a folder."""
    digest = hashlib.sha1()
    for path in sorted(Path(folder).rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: those of the index, where the folder has one."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return sorted(folder.glob("*.safetensors"))
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def weights_version(entry: PretrainedModel) -> str:
    """Stands for the weights that an entry names: their files on disk, or the commit on the hub."""
    if entry.hub is not None:
        return entry.revision
    files = sorted(Path(entry.path).glob("*.safetensors"))
    found = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def count_parameters(name: str, folder: Path) -> int:
    """Numbers in the weights, from the headers of the files."""
    try:
        files = weight_files(folder)
        if not files:
            raise UserError(
                f"{name}: {folder}: no *.safetensors; weights in other formats are refused"
            )
        return sum(map(_count_in_file, files))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{name}: {folder}: damaged weights: {first_line(error)}") from None


def _count_in_file(path: Path) -> int:
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > os.path.getsize(path):
            raise ValueError(f"{path.name} ends before its header does")
        header = json.loads(file.read(size))
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    end = 8 + size + max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    if end != os.path.getsize(path):
        raise ValueError(f"{path.name} is not as long as its header says")
    return sum(math.prod(tensor["shape"]) for tensor in tensors)


def needed_bytes(entry: PretrainedModel, parameters: float, device: str) -> float:
    """Memory of a `device` (`cpu` or `cuda`) that probing takes, without activations.

    The gradient probe holds the weights and one gradient; while a step is taken, which weights of
    32 bits allow, the weights before it are put aside in the machine's memory. Fine-tuning all
    weights holds also AdamW's two moments; adapters and theirs are small beside the weights.
    """
    copies = 3 if device == "cpu" and entry.dtype == "float32" else 2
    if entry.trained == "full":
        copies = 4
    return copies * BYTES[entry.dtype] * parameters


def memory_to_ask_for(entry: PretrainedModel, device: str) -> int:
    """Megabytes of the machine's memory that a job needs, before anything is downloaded.

    What probing takes on a CPU is four fifths of it (`training.memory.free_bytes`). Beside a GPU
    as much as on the GPU: weights, or what fine-tuning reached, are read into the machine's memory
    first, and weights are put aside there. Without files to read (the job will say so) it is what
    any process needs.
    """
    parameters = 1e9 * (entry.billion_parameters or 0)
    if not parameters:
        try:
            parameters = count_parameters(entry.name, Path(entry.path))
        except UserError:
            parameters = 0
    return math.ceil((needed_bytes(entry, parameters, device) * 5 / 4 + OVERHEAD) / 1e6)


def check_memory(entry: PretrainedModel, parameters: int, free: int, device: str) -> None:
    """Refuse a model that does not fit; `free` bytes are there for it."""
    needed = needed_bytes(entry, parameters, device)
    if needed <= free:
        return
    ways = []
    if entry.trained == "full":
        ways.append("method: lora")
    if entry.dtype == "float32":
        ways.append("dtype: bfloat16")
    ways.append(f"gpus: {entry.gpus + 1} or more")
    raise UserError(
        f"{entry.name}: {parameters / 1e9:.3g} billion parameters in {entry.dtype}, method "
        f"{entry.method}, need about {needed / 1e9:.3g} GB of memory and {free / 1e9:.3g} GB are "
        f"there for it: say {', or '.join(ways)}"
    )
