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
CLASS = 20
TEMPLATES = {"forward": "{subject} is {object}", "reverse": "{object} is {subject}"}


def write_facts(folder: Path, count: int = FACTS, **changed: object) -> str:
    """A table of `A is B` and `B is A`; returns its path."""
    rows = [{"subject": f"a{i}", "object": f"b{i}", **TEMPLATES, **changed} for i in range(count)]
    path = folder / "facts.csv"
    pl.DataFrame(rows).write_csv(path)
    return str(path)


def save_tokenizer(folder: Path) -> int:
    """One token per entity, `is` and the mask; returns how many there are."""
    words = ["is", *(f"{kind}{i}" for kind in "ab" for i in range(CLASS)), "[MASK]", "[UNK]"]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, mask_token="[MASK]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return len(words)


def save_masked(folder: Path, layers: int = 1, heads: int = 1, width: int = 64) -> Path:
    """A bidirectional encoder with rotary positions (EuroBERT)."""
    vocabulary = save_tokenizer(folder)
    config = transformers.EuroBertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=32,
        attention_dropout=0.0,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        mask_token_id=vocabulary - 2,
    )
    torch.manual_seed(0)
    transformers.EuroBertForMaskedLM(config).save_pretrained(folder)
    return folder


def save_causal(folder: Path, width: int = 64) -> Path:
    """A decoder with rotary positions (Llama)."""
    config = transformers.LlamaConfig(
        vocab_size=save_tokenizer(folder),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def load_tiny(
    folder: Path, kind: str = "masked_diffusion", save: Any = None, **keys: Any
) -> tuple[Loaded, Questions]:
    """A tiny untrained model of some kind below a folder, with its facts as questions."""
    save = save or (save_causal if kind == "causal" else save_masked)
    path = save(folder / f"model{len(list(folder.iterdir()))}")
    given = {"steps": 0, "learning_rate": 3e-3, "batch_size": 64, "facts": write_facts(folder)}
    if "trust_remote_code" in keys:
        given["revision"] = code_digest(path)
    entry = PretrainedModel(**{"name": "tiny", "kind": kind, "path": str(path), **given, **keys})
    checkpoint = find_model(entry)
    tokenizer = from_folder(checkpoint)
    return load(checkpoint, tokenizer), Questions.of(read_facts(entry.facts), tokenizer)


def change_config(folder: Path, **changed: object) -> None:
    """Overwrite keys of a checkpoint's `config.json`; None removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


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

    def __init__(self, vocab_size=43, width=64, heads=2, rope_theta=10000.0, **rest):
        self.vocab_size, self.width, self.heads = vocab_size, width, heads
        self.hidden_size, self.num_attention_heads, self.rope_theta = width, heads, rope_theta
        super().__init__(**rest)


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)  # and no post_init, as code for transformers 4 may do
        d = config.width
        self.wte = nn.Embedding(config.vocab_size, d)
        self.q_proj, self.k_proj, self.v_proj, self.attn_out = (nn.Linear(d, d) for _ in range(4))
        self.ff_proj, self.ff_out = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.lm_head = nn.Linear(d, config.vocab_size, bias=False)
        rates, _ = ROPE_INIT_FUNCTIONS["default"](config)  # version 5 has none of this name
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
            f(x).unflatten(-1, (self.config.heads, -1)).transpose(1, 2)
            for f in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = self.rotate(q), self.rotate(k)
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.attn_out(seen.transpose(1, 2).flatten(-2))
        x = x + self.ff_out(nn.functional.gelu(self.ff_proj(x)))
        return MaskedLMOutput(logits=self.lm_head(x))
'''


def save_own_code(folder: Path) -> Path:
    """A checkpoint with its own modelling file, which leaves a file `was_run` when it is run."""

    vocabulary = save_tokenizer(folder)
    width = 64
    shapes = {
        "wte.weight": (vocabulary, width),
        "lm_head.weight": (vocabulary, width),
        **{f"{n}.weight": (width, width) for n in ("q_proj", "k_proj", "v_proj", "attn_out")},
        **{f"{n}.bias": (width,) for n in ("q_proj", "k_proj", "v_proj", "attn_out", "ff_out")},
        "ff_proj.weight": (2 * width, width),
        "ff_proj.bias": (2 * width,),
        "ff_out.weight": (width, 2 * width),
    }
    generator = torch.Generator().manual_seed(0)
    weights = {n: 0.02 * torch.randn(shape, generator=generator) for n, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "modeling_own.py").write_text(
        _OWN_CODE.replace("{marker!r}", repr(str(folder / "was_run")))
    )
    config = {
        "model_type": "own",
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"},
        "mask_token_id": vocabulary - 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
