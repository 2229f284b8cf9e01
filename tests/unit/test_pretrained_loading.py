"""Checks before a pretrained model is loaded: each mistake gives one line."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from reversal_curse.config.errors import UserError
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained import loading, model_folder
from reversal_curse.pretrained.model_folder import code_digest, find_model, memory_to_ask_for
from reversal_curse.training.memory import free_bytes
from tiny_models import MASK, change_json, save_causal, save_masked, save_own_code

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"
EIGHT_BILLION = {"hub": "a/b", "revision": COMMIT, "billion_parameters": 8.0}


@pytest.fixture
def masked(tmp_path):
    return save_masked(tmp_path / "masked")


@pytest.fixture
def own(tmp_path):
    return save_own_code(tmp_path / "own")


def entry(path=None, **keys) -> PretrainedModel:
    """Make an entry of a model in a folder; if it is trusted, its code is pinned."""
    given = {"name": "tiny", "kind": "masked_lm", **({"path": str(path)} if path else {})}
    if "trust_remote_code" in keys:
        pin = keys.get("revision") or code_digest(path)
        given |= {"kind": "masked_diffusion", "revision": pin}
    made = PretrainedModel(**given | keys)
    assert not list(made.mistakes())
    return made


def loaded(path, **keys) -> loading.Loaded:
    checkpoint = find_model(entry(path, **keys))
    return loading.load(checkpoint, loading.from_folder(checkpoint))


def refused(message: str):
    return pytest.raises(UserError, match=message)


def change(path, how) -> None:
    """Change a file: a function, keys of its JSON, a part of its bytes, other bytes, or no file."""
    if callable(how):
        how(path)
    elif isinstance(how, dict):
        change_json(path, **how)
    elif how is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[how] if isinstance(how, slice) else how)


def own_map(model: str) -> dict:
    return {"auto_map": {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": model}}


def move_out(path) -> None:
    """Move a file out of its folder, and link to it."""
    path.rename(path.parents[1] / path.name)
    path.symlink_to(path.parents[1] / path.name)


def to_pipe(path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_pickle(path) -> None:
    save_file({"a": torch.ones(1)}, path.rename(path.with_name("other.safetensors")))


def header(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content


TRUST = {"trust_remote_code": True}
CONFIG, TOKENS = "config.json", "tokenizer_config.json"
INDEX = f"{WEIGHTS}.index.json"
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
TENSOR = b'{"a":{"dtype":"F32","shape":%s,"data_offsets":[0,0]}}'
FORMAT = "not a checkpoint in Hugging Face's format"
TOKENIZER = {"auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}}
OF_MASKED = [  # which file is changed, how, the error
    (CONFIG, None, f"{FORMAT}: no config.json"),
    (CONFIG, slice(1), f"{FORMAT}: config.json: Exp"),
    (WEIGHTS, None, "no weights in .*; other formats are refused"),
    (WEIGHTS, slice(-1), f"{WEIGHTS}: damaged weights: .*not fully"),
    (WEIGHTS, slice(99), f"{WEIGHTS}: damaged weights: .*header length"),
    ("tokenizer.json", None, "AutoTokenizer of transformers .* cannot load it"),
    (TOKENS, TOKENIZER, "its code comes with the checkpoint"),
    *(
        (file, how, f"{file}(: | must hold an object)")
        for file in (CONFIG, TOKENS, INDEX, "tokenizer.json", "generation_config.json")
        for how in (DEEP, b"[]", b"\xff\xfe")
    ),
    *(
        (CONFIG, {key: value}, f"config.json: {key} must be ")
        for key, values in {
            "architectures": ("a", 1, {"a": 1}),
            "auto_map": ("a", 1, ["a.A"]),
            "mask_token_id": ("a", [4], 1.5),
            "vocab_size": ("a", [4], {"a": 1}),
            "configuration_files": (["config.1.0.json"],),
            "transformers_weights": ("a/b.safetensors.index.json",),
        }.items()
        for value in values
    ),
    (CONFIG, {"num_hidden_layers": "a"}, "cannot load it"),
    (CONFIG, {"mask_token_id": -1}, "cannot load it"),
    (TOKENS, {"model_max_length": "a"}, "cannot load it"),
    (TOKENS, {"unk_token": ""}, "cannot load it"),
    (TOKENS, {"fast_tokenizer_files": ["/etc/passwd"]}, f"{TOKENS} names /etc/passwd, which"),
    (TOKENS, {"a": {"b": "../" * 9 + "etc/passwd"}}, r"names (\.\./)+etc/passwd, which is outside"),
    *(
        (INDEX, json.dumps(content).encode(), f"{INDEX}: weight_map must name")
        for content in ({}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {"a": []}})
    ),
    *(
        (INDEX, json.dumps({"weight_map": {"a": name}}).encode(), f"{INDEX} names {name}, which")
        for name in (f"../{WEIGHTS}", f"/a/{WEIGHTS}", "none.safetensors", "pytorch_model.bin")
    ),
    *(
        (WEIGHTS, header(content), f"{WEIGHTS}: damaged weights: ")
        for content in (DEEP, b"[]", b'{"a":1}', b'{"a":[]}', b"\xff")
    ),
    *(
        (WEIGHTS, header(TENSOR % shape), f"{WEIGHTS}: damaged weights: ")
        for shape in (b'"a"', b"[-1]", b"[1]", b"[1e99]", b"[9223372036854775808,2]", b"{}")
    ),
    (WEIGHTS, header(TENSOR % b"[0]"), "no weights in "),
    (WEIGHTS, to_pickle, "no file named model.safetensors"),
    ("adapter_config.json", b"{}", "adapters must be merged"),
    *(
        (file, how, f"{file} must be a file, or link to one, inside")
        for file in (CONFIG, TOKENS, WEIGHTS)
        for how in (move_out, to_pipe)
    ),
]
OF_TRUSTED = [  # the same for a model with its own code
    *(
        (CONFIG, own_map(name), f"its code .{name}. is elsewhere")
        for name in ("some/body--x.X", "/tmp/a.A", "../a.A", "a.b.A", "a")
    ),
    *(
        ("any", lambda path, to=to: path.symlink_to(to), "any must be a file, or link to one")
        for to in ("/etc", "..", "none", "any", "/dev/zero")
    ),
    ("modeling_own.py", move_out, "modeling_own.py must be a file, or link to one"),
]
REFUSED = [
    *((save_masked, {}, *case) for case in OF_MASKED),
    *((save_own_code, TRUST | {"revision": COMMIT}, *case) for case in OF_TRUSTED),
    (save_own_code, TRUST, CONFIG, own_map("modeling_own.X"), "AutoModel of .* cannot load it"),
    (save_own_code, {"kind": "causal"}, CONFIG, {}, "config.json names AutoConfig"),
    (save_masked, {"kind": "causal"}, CONFIG, {}, "allowed: masked_lm or masked_diffusion$"),
    (save_causal, {}, CONFIG, {}, "LlamaForCausalLM; allowed: causal$"),
    (save_causal, {}, CONFIG, {"architectures": ["A"]}, "allowed: no kind$"),
    (save_masked, TRUST, CONFIG, {}, "the checkpoint has no code of its own"),
    (save_masked, {"billion_parameters": 7.0}, CONFIG, {}, r"parameters must be \S+, got 7$"),
]


@pytest.mark.parametrize(("save", "keys", "file", "how", "message"), REFUSED)
def test_a_checkpoint_that_cannot_be_loaded_is_refused_in_a_line(
    tmp_path, save, keys, file, how, message
):
    folder = save(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    change(folder / file, how)
    memory_to_ask_for(entry(folder, **keys), "cpu")  # the Snakefile does, whatever the folder holds
    with refused(f"^tiny: .*{message}") as error:
        loaded(folder, **keys)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("save", "keys"), [(save_own_code, TRUST), (save_masked, {})])
def test_weights_that_do_not_fit_the_model_are_refused(tmp_path, save, keys):
    """Otherwise random numbers would fill what is missing, and be measured."""
    folder = save(tmp_path / "model")
    weights = load_file(folder / WEIGHTS)
    lost = weights.pop("lm_head.weight")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    with refused("cannot load it: its weights lack lm_head.weight"):
        loaded(folder, **keys)
    if keys:
        save_file({**weights, "lm_head.weight": lost, "extra": torch.ones(1)}, folder / WEIGHTS)
        with refused("cannot load it: its weights have extra, which its code has not"):
            loaded(folder, **keys)


def test_code_of_the_checkpoint_runs_only_if_it_is_trusted_and_pinned(own):
    given, marker = entry(own, **TRUST), own.with_name("was_run")
    with refused(r"its code comes with the checkpoint; read .*own/\*.py, then set trust_remote"):
        find_model(entry(own, kind="masked_diffusion"))
    with refused(f"read them, then set revision: {code_digest(own)}"):
        find_model(entry(own, **TRUST, revision=COMMIT))
    assert not marker.exists()
    assert type(loaded(own, **TRUST).model).__name__ == "OwnModel"
    assert marker.exists()
    for name in ("a.so", "__pycache__/modeling_own.cpython-311.pyc", ".hidden/a.py", "a.bin"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).touch()
        with refused("are not those that were pinned"):
            find_model(given)
        (own / name).unlink()
    find_model(given)
    with open(own / "modeling_own.py", "a") as file:
        file.write("# changed\n")
    with refused("are not those that were pinned"):
        find_model(given)


def test_code_for_an_older_transformers_keeps_the_numbers_that_its_constructor_computes(own):
    """Dream's rotary frequencies are in no file; `from_pretrained` of version 5 loses them."""
    whole, half = (loaded(own, **TRUST, dtype=dtype).model for dtype in ("float32", "bfloat16"))
    assert half.wte.weight.dtype == torch.bfloat16
    assert torch.equal(half.wte.weight, whole.wte.weight.bfloat16())
    for model in (whole, half):
        assert model.rates.dtype == torch.float32
        assert torch.allclose(model.rates, 10000.0 ** (-torch.arange(16) / 16))


TIED = """
class TiedModel(OwnModel):
    tie_weights = PreTrainedModel.tie_weights
    _tied_weights_keys = ["lm_head.weight"]  # version 5 expects a mapping

    def __init__(self, config):
        super().__init__(config)
        self.post_init()
"""


@pytest.mark.parametrize("stored_twice", [False, True])
def test_a_tied_head_stays_tied_and_no_weight_is_drawn_anew(own, stored_twice):
    """iLLaDA's code is so written."""
    with open(own / "modeling_own.py", "a") as file:
        file.write(TIED)
    change_json(own / CONFIG, tie_word_embeddings=True, **own_map("modeling_own.TiedModel"))
    weights = load_file(own / WEIGHTS)
    weights |= {"lm_head.weight": weights["wte.weight"].clone()}
    stored = {k: v for k, v in weights.items() if stored_twice or k != "lm_head.weight"}
    save_file(stored, own / WEIGHTS, metadata={"format": "pt"})
    model = loaded(own, **TRUST).model
    assert model.lm_head.weight is model.wte.weight
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_a_model_too_big_for_the_memory_is_refused_with_what_to_do():
    eight_billion = 8_015_581_184
    whole = entry("x", kind="causal")
    assert model_folder.needed_bytes(whole, eight_billion, "cpu") == 16 * eight_billion
    with pytest.raises(UserError) as error:
        model_folder.check_memory(whole, eight_billion, int(64e9), "cuda")
    assert str(error.value) == (
        "tiny: 8.02 billion parameters in float32, method full, need about 128 GB of memory, but "
        "64 GB are available: use method: lora, or dtype: bfloat16, or gpus: 2 or more"
    )
    for changed in ({"method": "lora"}, {"steps": 0}):
        small = entry("x", kind="causal", **changed)
        model_folder.check_memory(small, eight_billion, int(65e9), "cuda")
        with refused("need about 96"):  # the third copy: weights put aside
            model_folder.check_memory(small, eight_billion, int(65e9), "cpu")


def test_memory_is_asked_for_by_the_size_of_the_model(masked):
    # The model needs less than a megabyte, besides what any process needs.
    assert memory_to_ask_for(entry(masked), "cuda") == 8001
    assert memory_to_ask_for(entry(masked / "nowhere"), "cuda") == 8000
    assert memory_to_ask_for(entry(**EIGHT_BILLION), "cuda") == 8000 + 4 * 4 * 10_000
    half = entry(**EIGHT_BILLION, method="lora", dtype="bfloat16")
    assert memory_to_ask_for(half, "cuda") == 8000 + 2 * 2 * 10_000


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_job_with_the_memory_that_is_asked_for_does_not_refuse_its_model(monkeypatch, method):
    given = entry(**EIGHT_BILLION, method=method)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**15))
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(memory_to_ask_for(given, "cpu")))
    model_folder.check_memory(given, 8_000_000_000, free_bytes(torch.device("cpu")), "cpu")


def test_files_of_a_folder_are_known_by_their_content(masked):
    before = model_folder.folder_digests(entry(masked))
    time, content = (masked / WEIGHTS).stat(), (masked / WEIGHTS).read_bytes()
    (masked / WEIGHTS).write_bytes(content[:-1] + b"x")
    os.utime(masked / WEIGHTS, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert model_folder.folder_digests(entry(masked)) != before
    (masked / WEIGHTS).write_bytes(content)
    assert model_folder.folder_digests(entry(masked)) == before


def test_parameters_are_those_of_the_weights_that_the_index_names(masked):
    parameters = sum(p.numel() for p in loaded(masked).model.parameters())
    assert find_model(entry(masked)).parameters == parameters
    shutil.copy(masked / WEIGHTS, masked / "consolidated.safetensors")
    index = {"weight_map": {"any": WEIGHTS}}
    (masked / INDEX).write_text(json.dumps(index))
    assert find_model(entry(masked)).parameters == parameters


def test_what_would_fail_is_refused_before_weights_are_read(masked, monkeypatch):
    def check(**keys) -> None:
        checkpoint = find_model(entry(masked, **keys))
        loading.check_loadable(checkpoint, loading.from_folder(checkpoint))

    check(method="lora")
    with refused(r"^tiny: mask_token_id must be below 43, the number of tokens, got 99$"):
        check(mask_token_id=99)
    monkeypatch.setattr(loading, "free_bytes", lambda device: 10)
    with refused(r"^tiny: 4\.\S+ billion parameters in float32, method"):
        check()


@pytest.mark.parametrize("library", ["transformers", "peft"])
def test_a_missing_library_is_reported_with_how_to_install_it(tmp_path, monkeypatch, library):
    monkeypatch.setattr(model_folder, "find_spec", lambda name: None if name == library else name)
    with refused(f"^tiny: it needs {library}: install this package with: "):
        find_model(entry(tmp_path, method="lora"))


def test_several_gpus_share_a_model_evenly(own):
    model = loaded(own, **TRUST).model
    found = loading.spread(model, {0: 10**9, 1: 10**9})
    sizes = {0: 0, 1: 0}
    for name, parameter in model.named_parameters():
        part = next(p for p in found if name == p or name.startswith(f"{p}."))
        sizes[found[part]] += parameter.numel()
    assert min(sizes.values()) > 0.3 * sum(sizes.values())


def test_the_mask_token_comes_from_the_entry_the_tokenizer_or_the_config(masked):
    assert loaded(masked).mask == MASK
    assert loaded(masked, mask_token_id=3).mask == 3
    change_json(masked / "tokenizer_config.json", mask_token=None)
    assert loaded(masked).mask == MASK
    change_json(masked / "config.json", mask_token_id=None)
    with refused(r"the tokenizer has no mask token; set mask_token_id"):
        loaded(masked)


def test_a_model_of_the_hub_is_loaded_from_its_cache_or_refused(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with refused(f"^tiny: hub a/b at {COMMIT}: download failed: "):
        find_model(entry(**EIGHT_BILLION))
    snapshot = save_masked(tmp_path / f"models--a--b/snapshots/{COMMIT}")
    blob = tmp_path / "blobs/12/1234"  # the cache links files of a snapshot to blobs
    blob.parent.mkdir(parents=True)
    (snapshot / WEIGHTS).rename(blob)
    (snapshot / WEIGHTS).symlink_to(blob)
    parameters = find_model(entry(snapshot)).parameters
    given = entry(**EIGHT_BILLION | {"billion_parameters": parameters / 1e9})
    found = find_model(given, weights=False)
    assert found.folder == snapshot
    assert find_model(given) == replace(found, parameters=parameters)
    (snapshot / WEIGHTS).unlink()
    assert find_model(given, weights=False) == found  # the weights are downloaded last
    with refused("no weights in"):
        find_model(given)


def test_asking_for_more_gpus_than_there_are_is_refused(masked):
    if torch.cuda.is_available():
        with refused(r"gpus must be at most \d here, got 99"):
            loaded(masked, gpus=99)
    else:
        assert loaded(masked, gpus=99).device.type == "cpu"  # as in training, without a GPU
