"""Hugging Face's GPT-2 with our weights, for comparison."""

from __future__ import annotations

import transformers

from reversal_curse.models.transformer import Transformer


def hugging_face_twin(model: Transformer, settings, seed: int) -> transformers.GPT2LMHeadModel:
    """Make Hugging Face's GPT-2 with the weights of one of our seeds."""
    config = transformers.GPT2Config(
        vocab_size=model.wte.shape[1],
        n_positions=model.wpe.shape[1],
        n_embd=settings.embed_dim,
        n_layer=settings.layers,
        n_head=settings.heads,
        tie_word_embeddings=settings.tie_head,
    )
    twin = transformers.GPT2LMHeadModel(config).eval()
    weights = {"transformer.wte.weight": model.wte[seed], "transformer.wpe.weight": model.wpe[seed]}
    parts = {"ln_f": model.ln_f}
    for i, block in enumerate(model.blocks):
        parts |= {
            f"h.{i}.ln_1": block.ln_1,
            f"h.{i}.attn.c_attn": block.attention.qkv,
            f"h.{i}.attn.c_proj": block.attention.proj,
            f"h.{i}.ln_2": block.ln_2,
            f"h.{i}.mlp.c_fc": block.fc,
            f"h.{i}.mlp.c_proj": block.proj,
        }
    for name, part in parts.items():
        weights[f"transformer.{name}.weight"] = part.weight[seed].squeeze(0)
        weights[f"transformer.{name}.bias"] = part.bias[seed].squeeze(0)
    weights["lm_head.weight"] = model.wte[seed] if settings.tie_head else model.head[seed].T
    twin.load_state_dict(weights)
    return twin
