"""The loop that one would write first: Hugging Face's GPT-2, AdamW, one seed at a time.

Print the seconds per epoch of reversal, evaluated every epoch, as JSON.

    python benchmarks/plain.py '{"layers": 1, "embed_dim": 20, "heads": 2}' 20
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np
import torch
from ceilings import device
from transformers import GPT2Config, GPT2LMHeadModel

WARM_UP = 1


def seconds_per_epoch(
    layers: int, embed_dim: int, heads: int, epochs: int, device: torch.device
) -> float:
    """Train one seed: 340 sentences `A -> B` and `B <- A`, and 60 unseen ones, at V = 800."""
    rng = np.random.default_rng(0)
    a, b = rng.permutation(800)[:400].reshape(2, 200) + 2
    forward = np.stack([a, np.zeros(200, int), b], 1)
    backward = np.stack([b, np.ones(200, int), a], 1)
    train = torch.from_numpy(np.concatenate([forward, backward[:140]])).to(device)
    unseen = torch.from_numpy(backward[140:]).to(device)
    torch.manual_seed(0)
    config = GPT2Config(n_layer=layers, n_head=heads, n_embd=embed_dim, vocab_size=802)
    model = GPT2LMHeadModel(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        logits = model(batch[:, :-1]).logits[:, -1]
        return torch.nn.functional.cross_entropy(logits, batch[:, -1])

    metrics, started = [], 0.0
    for epoch in range(WARM_UP + epochs):
        if epoch == WARM_UP:
            started = time.perf_counter()
        model.train()
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            metrics.append([loss(train).item(), loss(unseen).item()])
    return (time.perf_counter() - started) / epochs


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    given, count = json.loads(sys.argv[1]), int(sys.argv[2])
    shape = {name: given[name] for name in ("layers", "embed_dim", "heads")}
    print(json.dumps({"seconds": seconds_per_epoch(**shape, epochs=count, device=device())}))
