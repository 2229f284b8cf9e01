"""Find and check a checkpoint in Hugging Face's format; no code of its own is run here."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.pretrained import PretrainedModel

INSTALL = "install this package with: pip install -c requirements.lock -e '.[pretrained]'"
SMALL_FILES = ["*.json", "*.py", "*.txt", "*.model"]
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OVERHEAD = 8e9
"""Bytes of memory beside the model: Python, its libraries, activations."""
AUTO_CLASSES = {
    "causal": ("AutoModelForCausalLM",),
    "masked_lm": ("AutoModelForMaskedLM",),
    # The second with code of the checkpoint's own: there it has the output layer (LLaDA, Dream).
    "masked_diffusion": ("AutoModelForMaskedLM", "AutoModel"),
}
ARCHITECTURES = {
    "ForMaskedLM": "masked_lm or masked_diffusion",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
}
"""How the names of architectures end, and their kinds."""


@dataclass(frozen=True)
class ModelFolder:
    """A folder that can be loaded, and how; `own_code`: the model's code comes with it.

    `parameters` are the numbers in the weights; before they are here, what the entry says.
    """

    entry: PretrainedModel
    folder: Path
    config: dict[str, Any]
    auto_class: str
    own_code: bool
    parameters: int


def find_model(entry: PretrainedModel, weights: bool = True) -> ModelFolder:
    """Find and check an entry's checkpoint; raises UserError where it cannot be loaded as said.

    One on the hub is downloaded, without `weights` only its small files, so that a mistake is found
    before the weights come; nothing else touches the network.
    """
    for library in ("transformers", *(["peft"] if entry.trained == "lora" else [])):
        if find_spec(library) is None:
            raise entry.error(f"it needs {library}: {INSTALL}")
    folder = _download(entry, weights) if entry.hub else Path(entry.path)
    if not folder.is_dir():
        raise entry.error(f"path {folder}: no such folder")
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is imported: the folder is whole
    from transformers import PretrainedConfig
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    try:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError("no config.json")
        config, _ = PretrainedConfig.get_config_dict(folder, local_files_only=True)
        both = (config, get_tokenizer_config(folder))  # Dream's tokenizer has code of its own, too
        code = [said["auto_map"] for said in both if said.get("auto_map")]
    except Exception as error:  # whatever the library says of files of others
        text = f"{folder}: not a checkpoint in Hugging Face's format: {first_line(error)}"
        raise entry.error(text) from None
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
        where = f"hub {entry.hub} at {entry.revision}"
        raise entry.error(f"{where}: not downloaded: {first_line(error)}") from None


def _auto_class(entry: PretrainedModel, config: dict[str, Any]) -> tuple[str, bool]:
    """Choose the class of transformers that loads it; say whether its code comes with it."""
    own = config.get("auto_map") or {}
    unfit = f"kind {entry.kind} does not fit: its config.json"
    if "AutoConfig" in own:
        found = [name for name in AUTO_CLASSES[entry.kind] if name in own]
        if not found or (entry.causal and config.get("mask_token_id") is not None):
            also = ", a mask_token_id" if entry.causal else ""
            raise entry.error(f"{unfit} names {', '.join(sorted(own))}{also}")
        return found[0], True
    architecture = str((config.get("architectures") or ["nothing"])[0])
    ends = (kind for end, kind in ARCHITECTURES.items() if architecture.endswith(end))
    allowed = next(ends, "no kind")
    if entry.kind not in allowed:
        raise entry.error(f"{unfit} says {architecture}; allowed for that: {allowed}")
    return AUTO_CLASSES[entry.kind][0], False


def _check_trust(entry: PretrainedModel, folder: Path, code: list[Any]) -> None:
    if "--" in str(code):
        wrong = f"its code ({code}) is in another repository, which no revision pins; use a "
        raise entry.error(f"{wrong}checkpoint that comes with its code")
    if code and not entry.trust_remote_code:
        wrong = f"its code comes with the checkpoint ({folder}/*.py); read it, then say "
        raise entry.error(f"{wrong}trust_remote_code: true and pin the revision")
    if entry.trust_remote_code and not code:
        raise entry.error("trust_remote_code: the checkpoint has no code of its own; leave it out")
    if code and entry.hub is None and entry.revision != code_digest(folder):
        wrong = f"revision: the code in {folder} is not the one that was pinned; read it, then say "
        raise entry.error(f"{wrong}revision: {code_digest(folder)}")


def code_digest(folder: Path) -> str:
    """Compute the SHA-1 of the names and contents of the .py files of a folder."""
    digest = hashlib.sha1()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """List the files that hold the weights: those of the index, where the folder has one."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return sorted(folder.glob("*.safetensors"))
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def weights_version(entry: PretrainedModel) -> str:
    """Stand for the weights that an entry names: their files on disk, or the commit on the hub."""
    if entry.hub is not None:
        return entry.revision
    files = sorted(Path(entry.path).glob("*.safetensors"))
    return digest_of([(f.name, (stat := f.stat()).st_size, stat.st_mtime_ns) for f in files])


def count_parameters(entry: PretrainedModel, folder: Path) -> int:
    """Count the numbers in the weights of a folder by the headers of their files."""
    from safetensors import SafetensorError, safe_open

    parameters, path, said = 0, folder, entry.billion_parameters
    try:
        for path in weight_files(folder):
            with safe_open(path, "numpy") as file:
                shapes = [file.get_slice(tensor).get_shape() for tensor in file.keys()]  # noqa: SIM118
            parameters += sum(map(math.prod, shapes))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise entry.error(f"{path}: damaged weights: {first_line(error)}") from None
    if path == folder:
        raise entry.error(f"{folder}: no *.safetensors; weights in other formats are refused")
    if said and not 0.9 < 1e9 * said / parameters < 1.1:
        raise entry.error(f"billion_parameters {said:g}: the checkpoint has {parameters / 1e9:.3g}")
    return parameters


def needed_bytes(entry: PretrainedModel, parameters: float, device: str) -> float:
    """Compute the memory of a `device` (`cpu` or `cuda`) that probing takes, without activations.

    The gradient probe holds the weights and one gradient; in 32 bits it takes a step, and puts the
    weights before it aside in the machine's memory. Fine-tuning all weights holds AdamW's two
    moments as well; adapters and theirs are small.
    """
    copies = 3 if device == "cpu" and entry.dtype == "float32" else 2
    return (4 if entry.trained == "full" else copies) * BYTES[entry.dtype] * parameters


def memory_to_ask_for(entry: PretrainedModel, device: str) -> int:
    """Compute the megabytes of machine memory that a job needs, before anything is downloaded.

    Of it `training.memory.free_bytes` gives four fifths. Beside a GPU it is as much as on the GPU:
    weights are read into it first, and put aside there. Files that are missing count as nothing:
    the job will say so.
    """
    parameters = 1e9 * (entry.billion_parameters or 0)
    if not parameters:
        try:
            parameters = count_parameters(entry, Path(entry.path))
        except UserError:
            parameters = 0
        except ImportError:  # only the job has the library; a number has two bytes at least
            parameters = sum(f.stat().st_size for f in Path(entry.path).glob("*.safetensors")) / 2
    return math.ceil((needed_bytes(entry, parameters, device) * 5 / 4 + OVERHEAD) / 1e6)


def check_memory(entry: PretrainedModel, parameters: int, free: int, device: str) -> None:
    """Refuse a model that does not fit; `free` bytes are there for it."""
    needed = needed_bytes(entry, parameters, device)
    if needed > free:
        ways = ["method: lora"] if entry.trained == "full" else []
        ways += ["dtype: bfloat16"] if entry.dtype == "float32" else []
        raise entry.error(
            f"{parameters / 1e9:.3g} billion parameters in {entry.dtype}, method {entry.method}, "
            f"need about {needed / 1e9:.3g} GB of memory and {free / 1e9:.3g} GB are there for it: "
            f"say {', or '.join([*ways, f'gpus: {entry.gpus + 1} or more'])}"
        )
