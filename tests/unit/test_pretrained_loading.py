"""What is checked before a pretrained model is loaded: each mistake is one line."""

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

from reversal_curse.config.errors import ConfigError, UserError
from reversal_curse.config.file import Config
from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained import loading, model_folder
from reversal_curse.pretrained.loading import (
    Loaded,
    check_loadable,
    from_folder,
    load,
    spread,
)
from reversal_curse.pretrained.model_folder import (
    check_memory,
    code_digest,
    count_parameters,
    find_model,
    memory_to_ask_for,
    needed_bytes,
    weights_version,
)
from reversal_curse.training.memory import free_bytes
from tiny_models import change_config, save_causal, save_masked, save_own_code

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"
EIGHT_BILLION = {"hub": "a/b", "revision": COMMIT, "billion_parameters": 8.0}


def entry(**keys) -> PretrainedModel:
    given = PretrainedModel(**{"name": "tiny", "kind": "masked_lm", **keys})
    assert not list(given.mistakes())
    return given


def own_code(folder, **keys) -> PretrainedModel:
    """An entry of a model with code of its own, which is trusted and pinned."""
    given = {"kind": "masked_diffusion", "path": str(folder), "trust_remote_code": True}
    return entry(**{**given, "revision": code_digest(folder), **keys})


def loaded(given: PretrainedModel) -> Loaded:
    checkpoint = find_model(given)
    return load(checkpoint, from_folder(checkpoint))


ENTRIES = {
    "unknown key": ({"step": 3}, "pretrained[0].step: unknown key"),
    "kind": ({"kind": "gpt"}, "pretrained[0].kind: must be masked_diffusion"),
    "no kind": ({"kind": None}, "pretrained[0].kind: must be masked_diffusion"),
    "hostile name": ({"name": "../x"}, "pretrained[0].name: must be a name"),
    "no place": ({"path": ...}, "pretrained[0]: needs a place to load from; allowed: either"),
    "two places": ({"hub": "a/b", "revision": COMMIT}, "needs a place to load from"),
    "hub without size": (
        {"path": ..., "hub": "a/b", "revision": COMMIT},
        "pretrained[0].billion_parameters: is missing; allowed: the size of the model on the hub",
    ),
    "hub without revision": ({"path": ..., "hub": "a/b"}, "[0].revision: is missing; allowed: the"),
    "a branch": ({"revision": "main"}, "pretrained[0].revision: must be a full commit or SHA-1"),
    "hub id": ({"path": ..., "hub": "a"}, "pretrained[0].hub: must be an id as on the hub"),
    "trust without revision": ({"trust_remote_code": True}, "[0].revision: code that comes with"),
    "mask of a causal model": ({"masking": "object"}, "[0].masking: is nothing that a causal"),
    "rate": ({"learning_rate": 0}, "pretrained[0].learning_rate: must be greater than 0"),
    "half precision": ({"dtype": "float16"}, "[0].dtype: AdamW's smallest number is 0 in float16"),
    "gpus": ({"gpus": 0}, "pretrained[0].gpus: must be "),
    "dtype": ({"dtype": "int8"}, "pretrained[0].dtype: must be float32, bfloat16"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_a_mistake_in_an_entry_names_the_key(case):
    changed, message = ENTRIES[case]
    given = {"name": "a", "kind": "causal", "path": "x", **changed}
    given = {key: value for key, value in given.items() if value is not ...}
    with pytest.raises(ConfigError) as error:
        Config.parse({"sweeps": {"base": {}}, "pretrained": [given]})
    assert message in str(error.value)


def test_two_entries_cannot_share_a_name():
    one = {"name": "a", "kind": "causal", "path": "x"}
    with pytest.raises(ConfigError, match=r'pretrained\[1\].name: "a" is used twice'):
        Config.parse({"sweeps": {"base": {}}, "pretrained": [one, one]})


def test_a_missing_or_incomplete_checkpoint_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^tiny: path .*none: no such folder$"):
        find_model(entry(path=str(tmp_path / "none")))
    with pytest.raises(UserError, match=r"in Hugging Face's format: no config.json"):
        find_model(entry(path=str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"not a checkpoint in Hugging Face's format: .*JSON"):
        find_model(entry(path=str(tmp_path)))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"not a checkpoint in Hugging Face's format"):
        find_model(entry(path=str(tmp_path)))
    folder = save_masked(tmp_path / "model")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"model.safetensors: damaged weights: .*not fully"):
        find_model(entry(path=str(folder)))
    weights.write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"model.safetensors: damaged weights: .*header length"):
        find_model(entry(path=str(folder)))
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"no \*.safetensors; weights in other formats are refused"):
        find_model(entry(path=str(folder)))


def test_a_wrong_kind_is_one_line_that_says_the_right_one(tmp_path):
    masked, causal = save_masked(tmp_path / "masked"), save_causal(tmp_path / "causal")
    with pytest.raises(UserError) as error:
        find_model(entry(kind="causal", path=str(masked)))
    assert "EuroBertForMaskedLM; allowed for that: masked_lm or masked_diff" in str(error.value)
    for kind in ("masked_lm", "masked_diffusion"):
        with pytest.raises(UserError, match=r"LlamaForCausalLM; allowed for that: causal"):
            find_model(entry(kind=kind, path=str(causal)))
    change_config(causal, architectures=["LlamaForSequenceClassification"])
    with pytest.raises(UserError, match=r"allowed for that: no kind"):
        find_model(entry(kind="causal", path=str(causal)))


def test_code_of_the_checkpoint_runs_only_where_it_is_trusted_and_pinned(tmp_path):
    folder = save_own_code(tmp_path / "own")
    marker = folder / "was_run"
    with pytest.raises(UserError, match=r"its code comes with the checkpoint .*read it, then say"):
        find_model(entry(kind="masked_diffusion", path=str(folder)))
    with pytest.raises(UserError) as error:
        find_model(own_code(folder, revision=COMMIT))
    assert f"read it, then say revision: {code_digest(folder)}" in str(error.value)
    assert not marker.exists()
    given = own_code(folder)
    assert type(loaded(given).model).__name__ == "OwnModel"
    assert marker.exists()
    with open(folder / "modeling_own.py", "a") as file:
        file.write("# changed\n")
    with pytest.raises(UserError, match=r"is not the one that was pinned"):
        find_model(given)


def test_code_for_an_older_transformers_keeps_the_numbers_that_its_constructor_computes(tmp_path):
    """Dream's rotary frequencies are in no file; `from_pretrained` of version 5 loses them."""
    folder = save_own_code(tmp_path / "own")
    model = loaded(own_code(folder)).model
    expected = 10000.0 ** (-torch.arange(16) / 16)
    assert torch.allclose(model.rates, expected)
    half = loaded(own_code(folder, dtype="bfloat16")).model
    assert half.wte.weight.dtype == torch.bfloat16
    assert half.rates.dtype == torch.float32
    assert torch.allclose(half.rates, expected)
    assert torch.equal(half.wte.weight, model.wte.weight.bfloat16())


def test_weights_that_do_not_fit_the_code_are_one_line(tmp_path):
    folder = save_own_code(tmp_path / "own")
    given = own_code(folder)
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "extra": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(
        UserError, match=r"cannot load it: model.safetensors has extra, which its code"
    ):
        loaded(given)
    del weights["wte.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"cannot load it: its weights lack wte.weight"):
        loaded(given)
    own_config = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.No"}
    change_config(folder, auto_map=own_config)
    with pytest.raises(UserError, match=r"AutoModel of transformers .* cannot load it: "):
        loaded(given)


def test_code_in_another_repository_is_never_run(tmp_path):
    folder = save_own_code(tmp_path / "own")
    elsewhere = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "some/body--code.Model"}
    change_config(folder, auto_map=elsewhere)
    with pytest.raises(UserError, match=r"some/body--code.Model.*is in another repository"):
        find_model(own_code(folder))


def test_a_tokenizer_with_code_of_its_own_is_trusted_or_refused_too(tmp_path):
    folder = save_masked(tmp_path / "masked")
    said = json.loads((folder / "tokenizer_config.json").read_text())
    said["auto_map"] = {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"its code comes with the checkpoint"):
        find_model(entry(path=str(folder)))


def test_trust_where_there_is_no_code_is_refused(tmp_path):
    folder = save_masked(tmp_path / "masked")
    with pytest.raises(UserError, match=r"the checkpoint has no code of its own"):
        find_model(entry(path=str(folder), trust_remote_code=True, revision=COMMIT))


def test_own_code_of_another_kind_is_refused(tmp_path):
    folder = save_own_code(tmp_path / "own")
    with pytest.raises(UserError, match=r"kind causal does not fit: its config.json names Auto"):
        find_model(entry(kind="causal", path=str(folder)))


def test_a_model_too_big_for_the_memory_is_refused_with_what_to_do():
    eight_billion = 8_015_581_184
    whole = entry(kind="causal", path="x")
    assert needed_bytes(whole, eight_billion, "cpu") == 16 * eight_billion
    with pytest.raises(UserError) as error:
        check_memory(whole, eight_billion, int(64e9), "cuda")
    assert str(error.value) == (
        "tiny: 8.02 billion parameters in float32, method full, need about 128 GB of memory and "
        "64 GB are there for it: say method: lora, or dtype: bfloat16, or gpus: 2 or more"
    )
    for changed in ({"method": "lora"}, {"steps": 0}):
        small = entry(kind="causal", path="x", **changed)
        check_memory(small, eight_billion, int(65e9), "cuda")
        with pytest.raises(UserError, match="need about 96"):  # the third: weights put aside
            check_memory(small, eight_billion, int(65e9), "cpu")


def test_memory_is_asked_for_by_the_size_of_the_model(tmp_path):
    here = entry(path=str(save_masked(tmp_path / "masked")))
    # Less than a megabyte, beside what any process needs.
    assert memory_to_ask_for(here, "cuda") == 8001
    assert memory_to_ask_for(entry(path=str(tmp_path / "nowhere")), "cuda") == 8000
    whole = entry(**EIGHT_BILLION)
    lora = entry(**EIGHT_BILLION, method="lora")
    short = entry(**EIGHT_BILLION, dtype="bfloat16")
    assert memory_to_ask_for(whole, "cuda") == 8000 + 4 * 4 * 10_000
    assert memory_to_ask_for(lora, "cuda") == 8000 + 2 * 4 * 10_000
    assert memory_to_ask_for(lora, "cpu") == 8000 + 3 * 4 * 10_000
    assert memory_to_ask_for(short, "cuda") == 8000 + 4 * 2 * 10_000


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_job_with_the_memory_that_is_asked_for_does_not_refuse_its_model(monkeypatch, method):
    given = entry(**EIGHT_BILLION, method=method)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**15))
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(memory_to_ask_for(given, "cpu")))
    check_memory(given, 8_000_000_000, free_bytes(torch.device("cpu")), "cpu")


def test_other_weights_in_the_same_folder_are_another_version(tmp_path):
    given = entry(path=str(save_masked(tmp_path / "masked")))
    before = weights_version(given)
    assert weights_version(given) == before
    weights = tmp_path / "masked/model.safetensors"
    os.utime(weights, ns=(0, 0))
    assert weights_version(given) != before
    assert weights_version(entry(**EIGHT_BILLION)) == COMMIT


def test_weights_beside_those_of_the_index_are_not_counted(tmp_path):
    folder = save_masked(tmp_path / "masked")
    given = entry(path=str(folder))
    parameters = count_parameters(given, folder)
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    index = {"weight_map": {"any": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert count_parameters(given, folder) == parameters
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UserError, match="damaged weights"):
        count_parameters(given, folder)


def test_weights_that_lack_a_part_of_the_model_are_refused(tmp_path):
    """Else the part would be made up, and measured."""
    folder = save_masked(tmp_path / "masked")
    weights = load_file(folder / "model.safetensors")
    lost = sorted(weights)[0]
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"its weights lack {lost}"):
        loaded(entry(path=str(folder)))


def test_what_would_fail_is_refused_before_weights_are_read(tmp_path, monkeypatch):
    folder = str(save_masked(tmp_path / "masked"))

    def check(**keys) -> None:
        checkpoint = find_model(entry(path=folder, **keys))
        check_loadable(checkpoint, from_folder(checkpoint))

    check(method="lora")
    with pytest.raises(UserError, match=r"^tiny: mask_token_id 99: the model has 43 tokens$"):
        check(mask_token_id=99)
    monkeypatch.setattr(loading, "free_bytes", lambda device: 10)
    with pytest.raises(UserError, match=r"^tiny: 4\.\S+ billion parameters in float32, method"):
        check()


@pytest.mark.parametrize("library", ["transformers", "peft"])
def test_a_library_that_is_missing_is_one_line(tmp_path, monkeypatch, library):
    monkeypatch.setattr(model_folder, "find_spec", lambda name: None if name == library else name)
    with pytest.raises(UserError, match=f"^tiny: it needs {library}: install this package with: "):
        find_model(entry(path=str(tmp_path), method="lora"))


def test_several_gpus_share_a_model_evenly(tmp_path):
    folder = save_own_code(tmp_path / "own")
    model = loaded(own_code(folder)).model
    found = spread(model, {0: 10**9, 1: 10**9})
    sizes = {0: 0, 1: 0}
    for name, parameter in model.named_parameters():
        part = next(p for p in found if name == p or name.startswith(f"{p}."))
        sizes[found[part]] += parameter.numel()
    assert min(sizes.values()) > 0.3 * sum(sizes.values())


def test_a_size_that_is_not_the_checkpoints_is_refused(tmp_path):
    folder = save_masked(tmp_path / "masked")
    with pytest.raises(UserError, match=r"^tiny: billion_parameters 7: the checkpoint has \S+$"):
        find_model(entry(path=str(folder), billion_parameters=7.0))


def test_parameters_are_counted_without_reading_the_weights(tmp_path):
    given = entry(path=str(save_masked(tmp_path / "masked")))
    model = loaded(given).model
    assert find_model(given).parameters == sum(p.numel() for p in model.parameters())


def test_the_mask_token_comes_from_the_entry_the_tokenizer_or_the_config(tmp_path):
    folder = save_masked(tmp_path / "masked")
    assert loaded(entry(path=str(folder))).mask == 41
    assert loaded(entry(path=str(folder), mask_token_id=3)).mask == 3
    with pytest.raises(UserError, match=r"mask_token_id 99: the model has 43 tokens"):
        loaded(entry(path=str(folder), mask_token_id=99))
    tokenizer = folder / "tokenizer_config.json"
    said = json.loads(tokenizer.read_text())
    del said["mask_token"]
    tokenizer.write_text(json.dumps(said))
    assert loaded(entry(path=str(folder))).mask == 41
    change_config(folder, mask_token_id=None)
    with pytest.raises(UserError, match=r"the tokenizer has no mask token; say mask_token_id"):
        loaded(entry(path=str(folder)))


def test_a_missing_tokenizer_is_one_line(tmp_path):
    folder = save_masked(tmp_path / "masked")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match=r"AutoTokenizer of transformers .* cannot load it"):
        loaded(entry(path=str(folder)))


def test_a_model_of_the_hub_that_cannot_be_had_is_one_line(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as error:
        find_model(entry(hub="nobody/nothing", revision=COMMIT, billion_parameters=1.0))
    assert f"tiny: hub nobody/nothing at {COMMIT}: not downloaded: " in str(error.value)


def test_a_model_of_the_hub_is_loaded_from_its_cache(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / f"hub/models--some--model/snapshots/{COMMIT}"
    shutil.copytree(save_causal(tmp_path / "causal"), snapshot)
    size = count_parameters(entry(path=str(snapshot)), snapshot) / 1e9
    hub = {"kind": "causal", "hub": "some/model", "revision": COMMIT}
    given = entry(**hub, billion_parameters=size)
    found = find_model(given, weights=False)
    assert found.folder == snapshot
    assert find_model(given) == replace(found, parameters=round(1e9 * size))
    (snapshot / "model.safetensors").unlink()
    assert find_model(given, weights=False) == found  # the weights come last
    with pytest.raises(UserError, match=r"no \*.safetensors"):
        find_model(given)


def test_more_gpus_than_there_are_is_one_line(tmp_path):
    given = entry(path=str(save_masked(tmp_path / "masked")), gpus=99)
    if torch.cuda.is_available():
        with pytest.raises(UserError, match=r"gpus: 99 are asked for and"):
            loaded(given)
    else:
        assert loaded(given).device.type == "cpu"  # as training: without a GPU on the CPU
