"""Tiny untrained checkpoints in Hugging Face's format, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained.facts import Questions, read_facts
from reversal_curse.pretrained.loading import Loaded, from_folder, load
from reversal_curse.pretrained.model_folder import code_digest, find_model

FACTS = 12
WORDS = ["is", *(f"{kind}{i}" for kind in "ab" for i in range(20)), "[MASK]", "[UNK]"]
"""The vocabulary: one token per entity."""
MASK = WORDS.index("[MASK]")
TEMPLATES = {"forward": "{subject} is {object}", "reverse": "{object} is {subject}"}


def write_facts(folder: Path, count: int = FACTS, **changed: object) -> str:
    """Write a table of `A is B` and `B is A`; return its path."""
    rows = [{"subject": f"a{i}", "object": f"b{i}", **TEMPLATES, **changed} for i in range(count)]
    path = folder / "facts.csv"
    pl.DataFrame(rows).write_csv(path)
    return str(path)


def save_tokenizer(folder: Path) -> None:
    words = {word: i for i, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, mask_token="[MASK]", unk_token="[UNK]"
    ).save_pretrained(folder)


def _save(folder: Path, config_class: Any, model_class: Any, heads: int, **keys: Any) -> Path:
    config = config_class(
        vocab_size=len(WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_attention_heads=heads,
        max_position_embeddings=32,
        **{"num_hidden_layers": 1, "num_key_value_heads": 1, **keys},
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id")),
    )
    save_tokenizer(folder)
    torch.manual_seed(0)
    model_class(config).save_pretrained(folder)
    return folder


def save_masked(folder: Path, heads: int = 1, **keys: Any) -> Path:
    """Save a bidirectional encoder with rotary positions."""
    keys |= {"attention_dropout": 0.0, "mask_token_id": MASK}
    return _save(
        folder, transformers.EuroBertConfig, transformers.EuroBertForMaskedLM, heads, **keys
    )


def save_causal(folder: Path) -> Path:
    """Save a decoder with rotary positions, whose two heads share one key head."""
    return _save(folder, transformers.LlamaConfig, transformers.LlamaForCausalLM, heads=2)


def load_tiny(
    folder: Path, kind: str = "masked_diffusion", save: Any = None, **keys: Any
) -> tuple[Loaded, Questions]:
    """Save and load a tiny untrained model below a folder; return it with its facts."""
    save = save or (save_causal if kind == "causal" else save_masked)
    path = save(folder / f"model{len(list(folder.iterdir()))}")
    given = {"steps": 0, "learning_rate": 3e-3, "batch_size": 64, "facts": write_facts(folder)}
    if "trust_remote_code" in keys:
        given["revision"] = code_digest(path)
    entry = PretrainedModel(**{"name": "tiny", "kind": kind, "path": str(path), **given, **keys})
    checkpoint = find_model(entry)
    tokenizer = from_folder(checkpoint)
    return load(checkpoint, tokenizer), Questions.of(read_facts(entry.facts), tokenizer)


def change_json(path: Path, **changed: object) -> None:
    """Overwrite keys of a JSON file; None removes one."""
    content = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


_OWN_CODE = '''
"""A bidirectional encoder with rotary positions, written by hand."""
from pathlib import Path
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

Path({marker!r}).touch()


class OwnConfig(PretrainedConfig):
    model_type = "own"
    vocab_size, hidden_size, num_attention_heads, rope_theta = 43, 64, 2, 10000.0


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)  # without post_init, as in some code for transformers 4
        d = config.hidden_size
        self.wte, self.lm_head = nn.Embedding(config.vocab_size, d), nn.Linear(d, config.vocab_size)
        self.q_proj, self.k_proj, self.v_proj, self.attn_out = (nn.Linear(d, d) for _ in range(4))
        rates, _ = ROPE_INIT_FUNCTIONS["default"](config)  # version 5 lists none of this name
        self.register_buffer("rates", rates, persistent=False)

    def get_input_embeddings(self):
        return self.wte

    def get_output_embeddings(self):
        return self.lm_head

    def tie_weights(self):
        pass

    def rotate(self, x):
        half = x.shape[-1] // 2
        angles = torch.arange(x.shape[-2], device=x.device)[:, None] * self.rates
        a, b = x[..., :half], x[..., half:]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def forward(self, input_ids, **_):
        x = self.wte(input_ids)
        q, k, v = (
            f(x).unflatten(-1, (self.config.num_attention_heads, -1)).transpose(1, 2)
            for f in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = self.rotate(q), self.rotate(k)
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.attn_out(seen.transpose(1, 2).flatten(-2))
        return MaskedLMOutput(logits=self.lm_head(x))
'''


def save_own_code(folder: Path) -> Path:
    """Save a checkpoint with its own modelling file, which leaves `was_run` beside the folder."""
    save_tokenizer(folder)
    rows = {"wte": len(WORDS), "lm_head": len(WORDS)}
    rows |= dict.fromkeys(["q_proj", "k_proj", "v_proj", "attn_out"], 64)
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"{n}.weight": 0.02 * torch.randn(k, 64, generator=generator) for n, k in rows.items()
    }
    weights |= {f"{name}.bias": torch.zeros(k) for name, k in rows.items() if name != "wte"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    code = _OWN_CODE.replace("{marker!r}", repr(str(folder.with_name("was_run"))))
    (folder / "modeling_own.py").write_text(code)
    config = {
        "model_type": "own",
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"},
        "mask_token_id": MASK,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
