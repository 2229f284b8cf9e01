"""Fine-tune a model on the forward statements alone, by its own objective.

Causal models learn the next token of the whole sentence. Masked ones fill in what a masking arm
hides (`registry/maskings.py`, as in our own masked diffusion): in any order, each token with a
probability t ~ U(0, 1) and its loss weighted by 1 / t; or some of the entities only. AdamW without
weight decay, constant rate, no dropout. What a tokenizer puts around a sentence is never masked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from reversal_curse.errors import UserError
from reversal_curse.pretrained.answers import batches, stacked, token_nll
from reversal_curse.pretrained.layout import Layout
from reversal_curse.pretrained.loading import Loaded
from reversal_curse.randomness import derived_seed
from reversal_curse.registry import MASKINGS
from reversal_curse.training.checkpoint import Checkpoints
from reversal_curse.training.interruption import Interruption


def with_adapters(loaded: Loaded, seed: int = 0) -> Loaded:
    """The model with LoRA adapters on every linear layer but the output; they start as nothing."""
    from peft import LoraConfig, get_peft_model

    head = loaded.model.get_output_embeddings()
    names = [
        name
        for name, module in loaded.model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    if not names:
        raise UserError(
            f"{loaded.entry.name}: method lora: the model has no linear layers of torch to adapt; "
            "say method: full"
        )
    rank = loaded.entry.lora_rank
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "adapters"))
        loaded.model = get_peft_model(loaded.model, config)
    return loaded


def finetune(
    loaded: Loaded,
    layouts: list[Layout],
    seed: int,
    checkpoints: Checkpoints | None = None,
    interruption: Interruption | None = None,
) -> None:
    """Train the parameters that require gradients; goes on from the newest checkpoint.

    A state is kept after the last step too, so that only measuring is left to be done again.
    Raises Interrupted, between two steps, where `interruption` asks to stop.
    """
    entry = loaded.entry
    parameters = {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), entry.learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(derived_seed(seed, "finetune"))
    order: list[int] = []
    step = 0
    if checkpoints and (found := checkpoints.newest(torch.device("cpu"))):
        step, order = found["step"], found["order"]
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(found["parameters"][name])
        optimizer.load_state_dict(found["optimizer"])
        generator.set_state(found["generator"])
        del found
        print(f"seed {seed}: going on after step {step} of {entry.steps}", flush=True)

    def state() -> dict[str, Any]:
        return {
            "step": step,
            "order": order,
            "parameters": {n: p.detach() for n, p in parameters.items()},
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
        }

    while step < entry.steps:
        chosen = []
        for _ in range(entry.batch_size):  # a few facts stand in it more than once
            order = order or torch.randperm(len(layouts), generator=generator).tolist()
            chosen.append(layouts[order.pop()])
        optimizer.zero_grad(set_to_none=True)
        for batch in batches(chosen, entry.batch_size):  # by length: nothing is padded
            loss = _loss(loaded, batch, generator).sum() / entry.batch_size
            loss.backward()
        optimizer.step()
        step += 1
        stop = interruption.reason() if interruption else None
        if checkpoints and (stop or step == entry.steps or checkpoints.due()):
            checkpoints.save(step, state())
        if stop:
            raise interruption.error(stop, step, entry.steps, checkpoints is not None, "step")
    optimizer.zero_grad(set_to_none=True)


def _loss(loaded: Loaded, layouts: list[Layout], generator: torch.Generator) -> torch.Tensor:
    """The losses (B,) of sentences of one length, in nats per token."""
    tokens, _ = stacked(layouts)
    if loaded.entry.causal:
        known = torch.arange(tokens.shape[1]) > 0  # what comes first is foretold by nothing
        return (token_nll(loaded, tokens, tokens) * known).sum(1) / known.sum()
    masked, weights = mask(loaded, layouts, generator)
    nll = token_nll(loaded, tokens.masked_fill(masked, loaded.mask), tokens)
    return torch.where(masked, weights * nll, 0.0).sum(1)


def mask(
    loaded: Loaded, layouts: list[Layout], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which tokens of sentences of one length are masked (B, T), and the weights of their losses.

    As `Masking` of our own masked diffusion.
    """
    tokens, first = stacked(layouts, "subject")
    _, last = stacked(layouts, "object")
    special = torch.tensor(loaded.tokenizer.all_special_ids, dtype=tokens.dtype)
    own = ~torch.isin(tokens, special)
    if loaded.entry.shifted:
        own[:, 0] = False  # nothing is foretold of what comes first
    chooses: Callable | None = MASKINGS[loaded.entry.masking].chooses
    rate = 1 - torch.rand(len(tokens), 1, generator=generator)  # from (0, 1]: 1 / t stays finite
    if chooses is None:
        masked = (torch.rand(tokens.shape, generator=generator) < rate) & own
        return masked, 1 / (rate * own.sum(1, keepdim=True))
    masked = chooses(first, last, rate < 0.5) & own
    return masked, 1 / masked.sum(1, keepdim=True).clamp(min=1).expand(tokens.shape)
