"""Find and check a model's folder without running its code; libraries load only if needed."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reversal_curse.config.errors import UserError
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.tables.record import digest_of_file

INSTALL = "install this package with: pip install -c requirements.lock -e '.[pretrained]'"
SMALL_FILES = ["*.json", "*.py", "*.txt", "*.model"]
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OVERHEAD = 8e9
"""Bytes of memory besides the model: Python, its libraries, activations."""
KINDS = {
    # how the names of architectures end, and the classes of transformers that load them
    "causal": (("ForCausalLM", "LMHeadModel"), ["AutoModelForCausalLM"]),
    "masked_lm": ("ForMaskedLM", ["AutoModelForMaskedLM"]),
    # In code that comes with a checkpoint (LLaDA, Dream) AutoModel has the output layer.
    "masked_diffusion": ("ForMaskedLM", ["AutoModelForMaskedLM", "AutoModel"]),
}


@dataclass(frozen=True)
class ModelFolder:
    """A folder that can be loaded, and how; with `own_code`, the model's code comes with it.

    `parameters` counts the weights; until they are downloaded it is the entry's number.
    """

    entry: PretrainedModel
    folder: Path
    config: dict[str, Any]
    auto_class: str
    own_code: bool
    parameters: int


def find_model(entry: PretrainedModel, weights: bool = True) -> ModelFolder:
    """Find and check an entry's checkpoint; raises UserError if it cannot be loaded.

    Hub checkpoints are downloaded, weights only with `weights`; nothing else uses the network.
    """
    for library in ("transformers", "peft"):
        if find_spec(library) is None and (library != "peft" or entry.trained == "lora"):
            raise entry.error(f"it needs {library}: {INSTALL}")
    folder = _download(entry, weights) if entry.hub else Path(entry.path)
    if not folder.is_dir():
        raise entry.error(f"path {folder}: no such folder")
    os.environ["HF_HUB_OFFLINE"] = "1"  # the library reads it when imported; the folder is whole
    from transformers import PretrainedConfig
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    try:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError("no config.json")
        config, _ = PretrainedConfig.get_config_dict(folder, local_files_only=True)
        files = (config, get_tokenizer_config(folder))  # Dream's tokenizer also brings its code
        code = [file["auto_map"] for file in files if file.get("auto_map")]
    except Exception as error:  # files of others can make the library raise anything
        raise entry.error(f"{folder}: not a checkpoint in Hugging Face's format", error) from None
    auto_class, own_code = _auto_class(entry, config)
    _check_trust(entry, folder, code)
    here = weights or entry.hub is None
    parameters = count_parameters(entry, folder) if here else int(1e9 * entry.billion_parameters)
    return ModelFolder(entry, folder, config, auto_class, own_code, parameters)


def _download(entry: PretrainedModel, weights: bool) -> Path:
    from huggingface_hub import snapshot_download

    files = [*SMALL_FILES, "*.safetensors"] if weights else SMALL_FILES
    try:
        return Path(snapshot_download(entry.hub, revision=entry.revision, allow_patterns=files))
    except Exception as error:  # the library's own errors, and those of the network below it
        raise entry.error(f"hub {entry.hub} at {entry.revision}: download failed", error) from None


def _auto_class(entry: PretrainedModel, config: dict[str, Any]) -> tuple[str, bool]:
    """Choose the class of transformers that loads a model; tell whether it has its own code."""
    own, classes = config.get("auto_map") or {}, KINDS[entry.kind][1]
    unfit = f"kind {entry.kind} does not fit: its config.json names"
    if "AutoConfig" in own:
        found = [name for name in classes if name in own]
        if not found or (entry.causal and config.get("mask_token_id") is not None):
            also = ", a mask_token_id" if entry.causal else ""
            raise entry.error(f"{unfit} {', '.join(sorted(own))}{also}")
        return found[0], True
    architecture = str((config.get("architectures") or ["nothing"])[0])
    fitting = [kind for kind, (ends, _) in KINDS.items() if architecture.endswith(ends)]
    if entry.kind not in fitting:
        raise entry.error(f"{unfit} {architecture}; allowed: {' or '.join(fitting) or 'no kind'}")
    return classes[0], False


def _check_trust(entry: PretrainedModel, folder: Path, code: list[Any]) -> None:
    if "--" in str(code):
        wrong = f"its code ({code}) is in another repository, which no revision pins"
        raise entry.error(f"{wrong}; use a checkpoint that comes with its code")
    if code and not entry.trust_remote_code:
        wrong = f"its code comes with the checkpoint; read {folder}/*.py"
        raise entry.error(f"{wrong}, then set trust_remote_code: true and pin the revision")
    if entry.trust_remote_code and not code:
        raise entry.error("trust_remote_code: the checkpoint has no code of its own; leave it out")
    if code and entry.hub is None and entry.revision != (digest := code_digest(folder)):
        wrong = f"the code in {folder} is not the code that was pinned"
        raise entry.error(f"{wrong}; read it, then set revision: {digest}")


def code_digest(folder: Path) -> str:
    """Compute the SHA-1 of the names and contents of a folder's .py files."""
    digest = hashlib.sha1()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """List the files that hold the weights: those of the index, if the folder has one."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return sorted(folder.glob("*.safetensors"))
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def folder_digests(entry: PretrainedModel) -> dict[str, str]:
    """Return the SHA-256 of each file in an entry's folder; a hub's checkpoint has its revision."""
    files = sorted(Path(entry.path).iterdir()) if entry.path else []
    return {file.name: digest_of_file(file) for file in files if file.is_file()}


def count_parameters(entry: PretrainedModel, folder: Path) -> int:
    """Count the weights in a folder by the headers of their files; raises UserError."""
    from safetensors import SafetensorError, safe_open

    parameters, path, given = 0, folder, entry.billion_parameters
    try:
        for path in weight_files(folder):
            with safe_open(path, "numpy") as file:
                shapes = [file.get_slice(tensor).get_shape() for tensor in file.keys()]  # noqa: SIM118
            parameters += sum(map(math.prod, shapes))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise entry.error(f"{path}: damaged weights", error) from None
    if path == folder:
        raise entry.error(f"{folder}: no *.safetensors; weights in other formats are refused")
    if given and not 0.9 < 1e9 * given / parameters < 1.1:
        raise entry.error(f"billion_parameters must be {parameters / 1e9:.3g}, got {given:g}")
    return parameters


def needed_bytes(entry: PretrainedModel, parameters: float, device: str) -> float:
    """Compute the bytes that probing takes on a `device` (`cpu` or `cuda`), without activations.

    The gradient probe holds the weights and one gradient, and in 32 bits a copy of the weights in
    the machine's memory. Fine-tuning them all adds AdamW's two moments; adapters are small.
    """
    copies = 3 if device == "cpu" and entry.dtype == "float32" else 2
    return (4 if entry.trained == "full" else copies) * BYTES[entry.dtype] * parameters


def memory_to_ask_for(entry: PretrainedModel, device: str) -> int:
    """Compute the megabytes of machine memory that a job needs, before anything is downloaded.

    `training.memory.free_bytes` gives four fifths of it. A job on a GPU needs as much as the GPU
    holds, to read and copy weights. Missing files count as nothing: the job will report them.
    """
    billions, folder = entry.billion_parameters, Path(entry.path or "")
    try:
        parameters = 1e9 * billions if billions else count_parameters(entry, folder)
    except UserError:
        parameters = 0
    except ImportError:  # only the job has the library; a weight takes at least two bytes
        parameters = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 2
    return math.ceil((needed_bytes(entry, parameters, device) * 5 / 4 + OVERHEAD) / 1e6)


def check_memory(entry: PretrainedModel, parameters: int, free: int, device: str) -> None:
    """Raise UserError if a model does not fit into `free` bytes."""
    needed = needed_bytes(entry, parameters, device)
    if needed > free:
        ways = ["method: lora"] if entry.trained == "full" else []
        ways += ["dtype: bfloat16"] if entry.dtype == "float32" else []
        raise entry.error(
            f"{parameters / 1e9:.3g} billion parameters in {entry.dtype}, method {entry.method}, "
            f"need about {needed / 1e9:.3g} GB of memory, but {free / 1e9:.3g} GB are available: "
            f"use {', or '.join([*ways, f'gpus: {entry.gpus + 1} or more'])}"
        )
