"""Find and check a model's folder without running its code; libraries load only if needed."""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any

from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.tables.record import digest_of_file

INSTALL = "install this package with: pip install -c requirements.lock -e '.[pretrained]'"
SMALL_FILES = ["*.json", "*.py", "*.txt", "*.model"]
INDEX = "model.safetensors.index.json"
KEYS = {
    # what we read of a config.json; for other configs and weights than we check, only null
    "architectures": list,
    "auto_map": dict,
    "mask_token_id": int,
    "vocab_size": int,
    "configuration_files": NoneType,
    "transformers_weights": NoneType,
}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OVERHEAD = 8e9
"""Bytes of memory besides the model: Python, its libraries, activations."""
KINDS = {
    # how the names of architectures end, and the classes of transformers that load them
    "causal": (("ForCausalLM", "LMHeadModel"), ["AutoModelForCausalLM"]),
    "masked_lm": ("ForMaskedLM", ["AutoModelForMaskedLM"]),
    # In code that comes with a checkpoint (LLaDA, iLLaDA, Dream) AutoModel has the output layer.
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
    try:
        config, code = _read_config(folder)
    except (OSError, TypeError, ValueError, RecursionError) as error:
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


def _read_config(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Read a checkpoint's config, and which code it and its tokenizer name."""
    _files(folder, "**/*")  # all that it may load is inside
    read = {path.name: _read_json(path) for path in sorted(folder.glob("*.json"))}
    if "config.json" not in read:
        raise FileNotFoundError("no config.json")
    if "adapter_config.json" in read:
        raise ValueError("adapter_config.json: adapters must be merged into the weights")
    for name in (name for name in read if name.endswith("config.json")):
        for text in (text for text in _strings(read[name]) if "/" in text):
            for path in (folder / text, text):  # a library may read what it names
                if os.path.isfile(path) and not _is_inside(folder, path):
                    raise ValueError(f"{name} names {text}, which is outside")
    config = read["config.json"]
    for key, kind in KEYS.items():
        if not isinstance(value := config.get(key), kind | None):
            got = type(value).__name__
            raise TypeError(f"config.json: {key} must be {kind.__name__} or null, got {got}")
    tokenizer = read.get("tokenizer_config.json", {})  # Dream's has code too
    return config, [*_strings([config.get("auto_map"), tokenizer.get("auto_map")])]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise TypeError(f"{path.name} must hold an object, got {type(content).__name__}")
    return content


def _strings(content: Any) -> Iterator[str]:
    """Yield the strings in what JSON holds, without its keys."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _strings(part)


def _files(folder: Path, pattern: str = "*") -> list[Path]:
    """List a checkpoint's files; raises ValueError if one leads out of the folder or is none."""
    paths = sorted(folder.glob(pattern))
    files = [path for path in paths if path.is_symlink() or not path.is_dir()]
    for path in files:
        if not (path.is_file() and _is_inside(folder, path)):
            raise ValueError(f"{path.relative_to(folder)} must be a file, or link to one, inside")
    return files


def _is_inside(folder: Path, path: str | Path) -> bool:
    root = folder.resolve()
    if root.match("models--*/snapshots/*"):  # the hub's cache: files are links to blobs in it
        root = root.parents[2]
    return Path(path).resolve().is_relative_to(root)


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


def _check_trust(entry: PretrainedModel, folder: Path, code: list[str]) -> None:
    for name in code:
        if not re.fullmatch(r"\w+\.\w+", name):
            wrong = f"its code ({name}) is elsewhere, where no revision pins it"
            raise entry.error(f"{wrong}; use a checkpoint that comes with its code")
    if code and not entry.trust_remote_code:
        wrong = f"its code comes with the checkpoint; read {folder}/*.py"
        raise entry.error(f"{wrong}, then set trust_remote_code: true and pin the revision")
    if entry.trust_remote_code and not code:
        raise entry.error("trust_remote_code: the checkpoint has no code of its own; leave it out")
    if code and entry.hub is None and entry.revision != (digest := code_digest(folder)):
        wrong = f"the files in {folder} are not those that were pinned"
        raise entry.error(f"{wrong}; read them, then set revision: {digest}")


def code_digest(folder: Path) -> str:
    """Compute a digest of all that a checkpoint's code may load: every file but the weights."""
    files = [path for path in _files(folder, "**/*") if path.suffix != ".safetensors"]
    digests = [(str(path.relative_to(folder)), digest_of_file(path)) for path in files]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:40]


def folder_digests(entry: PretrainedModel) -> dict[str, str]:
    """Return the SHA-256 of each file in an entry's folder; a hub's checkpoint has its revision."""
    files = _files(Path(entry.path)) if entry.path else []
    return {file.name: digest_of_file(file) for file in files}


def weight_files(folder: Path) -> list[Path]:
    """List the files that hold the weights: those of the index, if the folder has one."""
    files = {path.name: path for path in _files(folder)}
    if INDEX not in files:
        return [path for path in files.values() if path.suffix == ".safetensors"]
    weight_map = _read_json(files[INDEX]).get("weight_map")
    if not (isinstance(weight_map, dict) and all(isinstance(f, str) for f in weight_map.values())):
        raise TypeError(f"{INDEX}: weight_map must name a file for each weight")
    names = sorted(set(weight_map.values()))
    if lost := [name for name in names if name not in files or not name.endswith(".safetensors")]:
        raise ValueError(f"{INDEX} names {lost[0]}, which is no *.safetensors in this folder")
    return [files[name] for name in names]


def count_parameters(entry: PretrainedModel, folder: Path) -> int:
    """Count the weights in a folder by the headers of their files; raises UserError."""
    from safetensors import safe_open

    parameters, path, given = 0, folder, entry.billion_parameters
    try:
        for path in weight_files(folder):
            with safe_open(path, "numpy") as file:
                shapes = [file.get_slice(tensor).get_shape() for tensor in file.keys()]  # noqa: SIM118
            parameters += sum(map(math.prod, shapes))
    except Exception as error:  # files of others can make the library raise anything
        raise entry.error(f"{path}: damaged weights", error) from None
    if not parameters:
        raise entry.error(f"{folder}: no weights in *.safetensors; other formats are refused")
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
        parameters = sum(p.stat().st_size for p in folder.glob("*.safetensors") if p.is_file()) / 2
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
