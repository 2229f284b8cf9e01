"""Hugging Face's GPT-2 with our weights, to compare with."""

from __future__ import annotations

import transformers

from reversal_curse.models.transformer import Transformer


def hugging_face_twin(model: Transformer, settings, seed: int) -> transformers.GPT2LMHeadModel:
    """GPT-2 of Hugging Face with the weights of one of our seeds."""
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
    for i, block in enumerate(model.blocks):
        parts = {
            "ln_1": block.ln_1,
            "attn.c_attn": block.attention.qkv,
            "attn.c_proj": block.attention.proj,
            "ln_2": block.ln_2,
            "mlp.c_fc": block.fc,
            "mlp.c_proj": block.proj,
        }
        for name, part in parts.items():
            weights[f"transformer.h.{i}.{name}.weight"] = part.weight[seed].squeeze(0)
            weights[f"transformer.h.{i}.{name}.bias"] = part.bias[seed].squeeze(0)
    weights["transformer.ln_f.weight"] = model.ln_f.weight[seed, 0]
    weights["transformer.ln_f.bias"] = model.ln_f.bias[seed, 0]
    weights["lm_head.weight"] = model.wte[seed] if settings.tie_head else model.head[seed].T
    missing, unexpected = twin.load_state_dict(weights, strict=False)
    assert not missing
    assert not unexpected
    return twin
