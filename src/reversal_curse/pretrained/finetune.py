"""Fine-tune a model on sentences by its own objective.

Causal models learn the next token of the whole sentence. Masked ones fill in what a masking arm
hides (`tasks/masking_arms.py`), as our own masked diffusion does, but never tokens that a tokenizer
adds around a sentence. AdamW without weight decay, constant rate, no dropout.
"""

import torch

from reversal_curse.models.random_streams import derived_seed
from reversal_curse.pretrained.answers import batches, stacked, token_nll
from reversal_curse.pretrained.facts import Layout
from reversal_curse.pretrained.loading import Loaded
from reversal_curse.tasks.masking_arms import MASKINGS
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.interruption import Interruption


def add_adapters(loaded: Loaded, seed: int = 0) -> None:
    """Put LoRA adapters, which start as zero, on every linear layer except the output."""
    from peft import LoraConfig, get_peft_model

    rank = loaded.entry.lora_rank
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    torch.manual_seed(derived_seed(seed, "adapters"))
    try:
        loaded.model = get_peft_model(loaded.model, config)
    except ValueError as error:
        raise loaded.entry.error("method lora does not fit, use full", error) from None


def finetune(
    loaded: Loaded,
    layouts: list[Layout],
    seed: int,
    checkpoints: Checkpoints | None = None,
    interruption: Interruption | None = None,
) -> None:
    """Train from the newest checkpoint on; raises Interrupted between steps if asked to stop."""
    entry = loaded.entry
    parameters = {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), entry.learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(derived_seed(seed, "finetune"))
    step, order = 0, []
    if checkpoints and (found := checkpoints.newest(torch.device("cpu"))):
        step, order = found["step"], found["order"]
        loaded.model.load_state_dict(found["parameters"], strict=False)
        optimizer.load_state_dict(found["optimizer"])
        generator.set_state(found["generator"])
        del found
        print(f"seed {seed}: going on after step {step} of {entry.steps}", flush=True)
    while step < entry.steps:
        chosen = []
        for _ in range(entry.batch_size):  # if there are fewer facts, some come more than once
            order = order or torch.randperm(len(layouts), generator=generator).tolist()
            chosen.append(layouts[order.pop()])
        for batch in batches(chosen, entry.batch_size):
            (_loss(loaded, batch, generator).sum() / entry.batch_size).backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        stop = interruption.reason() if interruption else None
        # After the last step too: a run stopped later only measures again.
        if checkpoints and (stop or step == entry.steps or checkpoints.due()):
            state = {
                "step": step,
                "order": order,
                "parameters": {name: p.detach() for name, p in parameters.items()},
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
            }
            checkpoints.save(step, state)
        if interruption and stop:
            raise interruption.error(stop, step, entry.steps, checkpoints is not None, "step")


def _loss(loaded: Loaded, layouts: list[Layout], generator: torch.Generator) -> torch.Tensor:
    """Compute the losses (B,) of sentences of one length, in nats per token."""
    tokens, _ = stacked(layouts)
    if loaded.entry.causal:  # nothing predicts the first token
        return token_nll(loaded, tokens, tokens)[:, 1:].mean(1)
    masked, weights = mask(loaded, layouts, generator)
    nll = token_nll(loaded, tokens.masked_fill(masked, loaded.mask), tokens)
    return torch.where(masked, weights * nll, 0.0).sum(1)


def mask(
    loaded: Loaded, layouts: list[Layout], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose masked tokens (B, T) as our own `Masking` does, and the weights of their losses."""
    tokens, first = stacked(layouts, "subject")
    _, last = stacked(layouts, "object")
    own = ~torch.isin(tokens, torch.tensor(loaded.tokenizer.all_special_ids, dtype=tokens.dtype))
    if loaded.entry.shifted:
        own[:, 0] = False  # nothing predicts the first token
    chooses = MASKINGS[loaded.entry.masking].chooses
    rate = 1 - torch.rand(len(tokens), 1, generator=generator)  # from (0, 1]: 1 / t stays finite
    if chooses is None:
        masked = (torch.rand(tokens.shape, generator=generator) < rate) & own
        return masked, 1 / (rate * own.sum(1, keepdim=True))
    masked = chooses(first, last, rate < 0.5) & own
    return masked, 1 / masked.sum(1, keepdim=True).clamp(min=1)
