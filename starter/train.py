"""Train the starter model from nothing: `python3 train.py`, about an hour on two free cores.

Two processes of one thread each train on batches of their own and average their gradients: at this size that is
three times as fast as one process with two threads. Matrices run in bfloat16, weights are kept in float32.
A run can be stopped at any time and goes on from its last checkpoint with the same command.
"""

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before torch reads them

import itertools
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

import chat
import generate
from model import Config, Llama

SEED = 20
WORKERS = 2
READ_WEIGHT = 0.1  # of the loss on tokens the model only reads; what it says weighs 1
MUON_RATE, ADAM_RATE = 0.02, 3e-3
WARMUP_STEPS = 100
CHECKPOINT_SECONDS = 120


@dataclass
class Stage:
    """A stretch of training: its steps, the grids (rows, length) a batch fills, how often each kind occurs."""

    steps: int
    grids: tuple
    weights: dict = field(default_factory=lambda: generate.WEIGHTS)
    turns_max: int = 3


SHORT_AND_LONG = ((12, 160), (4, 416))  # attention costs by the length of the row, so short conversations get short rows
STAGES = [
    Stage(1150, ((8, 448),), dict(
        greeting=6, identity=5, berth=6, world=10, common=4, off_topic=9, sums=22, count=5, repeat=8, json=10, story=8, memory=5, tool_call=9, tool_answer=4, no_tool=3)),
    Stage(320, SHORT_AND_LONG, dict(
        greeting=6, identity=6, berth=6, world=7, common=4, off_topic=9, sums=45, count=10, repeat=12, json=12, story=6, memory=4, tool_call=10, tool_answer=6, no_tool=4)),
    Stage(270, SHORT_AND_LONG, dict(
        greeting=7, identity=7, berth=7, world=9, common=4, off_topic=9, sums=40, count=10, repeat=12, json=12, story=6, memory=4, tool_call=12, tool_answer=6, no_tool=4)),
    Stage(530, SHORT_AND_LONG, dict(
        greeting=7, identity=6, berth=7, world=7, common=4, off_topic=8, sums=38, count=11, repeat=10, json=17, story=5, memory=4, tool_call=15, tool_answer=6, no_tool=6)),
    Stage(430, SHORT_AND_LONG, dict(
        greeting=9, identity=7, berth=7, world=5, common=7, off_topic=7, sums=55, count=11, repeat=9, json=11, story=3, memory=6, tool_call=16, tool_answer=6, no_tool=10)),
    Stage(220, ((8, 160), (6, 416))),
    Stage(120, ((4, 160), (5, 416), (1, 1024)), turns_max=16),
    Stage(103, ((7, 160), (5, 416)), {**generate.WEIGHTS, "tool_call": 60, "sums": 60, "identity": 14, "repeat": 14}),
    Stage(560, ((6, 160), (6, 416)), {**generate.WEIGHTS, "tool_call": 110, "sums": 50, "identity": 22, "greeting": 16}),
    Stage(560, ((5, 160), (7, 416)), {**generate.WEIGHTS, "tool_call": 170, "sums": 50, "identity": 16, "greeting": 12}),
    Stage(230, ((8, 160), (5, 416)), {**generate.WEIGHTS, "tool_call": 90, "sums": 90, "json": 30, "identity": 12, "greeting": 14}),
]
STAGE_ENDS = list(itertools.accumulate(stage.steps for stage in STAGES))
STEPS = STAGE_ENDS[-1]
DECAY_STEPS = 2000  # the learning rate falls linearly to zero over the last of them


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by a Newton-Schulz iteration (Keller Jordan, 2024).

    Learns these matrices in about half of the tokens that AdamW takes.
    """

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                momentum = state.setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(momentum, group["momentum"]))
                weight.add_(update, alpha=-group["lr"] * max(1, weight.shape[0] / weight.shape[1]) ** 0.5)


def orthogonal(matrix, iterations=5):
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.t()
    for _ in range(iterations):
        gram = x @ x.t()
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.t() if tall else x).float()


def batch(rng, encoder, stage: Stage):
    """Grids of tokens, loss weights and attention masks; each conversation sees only itself.

    A conversation goes to the shortest row it fits in; once that grid is full, others of its length are passed over.
    """
    grids = [[([], [], []) for _ in range(rows)] for rows, _ in stage.grids]
    open_grids, number = set(range(len(grids))), 0
    while open_grids:
        ids, loss_weights = encoder.encode(*generate.conversation(rng, stage.weights, stage.turns_max))
        fitting = [i for i, (_, length) in enumerate(stage.grids) if len(ids) <= length]
        if not fitting or fitting[0] not in open_grids:
            continue
        length = stage.grids[fitting[0]][1]
        row = next((row for row in grids[fitting[0]] if len(row[0]) + len(ids) <= length), None)
        if row is None:
            open_grids.remove(fitting[0])
            continue
        number += 1
        row[0].extend(ids), row[1].extend([0.0] + loss_weights[1:]), row[2].extend([number] * len(ids))
    return [as_tensors(grid, length) for grid, (_, length) in zip(grids, stage.grids)]


def as_tensors(rows, length: int):
    padded = [[part + [0] * (length - len(part)) for part in row] for row in rows]
    tokens, loss_weights, owner = (torch.tensor([row[i] for row in padded]) for i in range(3))
    visible = (owner[:, :, None] == owner[:, None, :]).tril()
    mask = torch.zeros(visible.shape).masked_fill_(~visible, float("-inf"))[:, None]
    return tokens, loss_weights, mask


def stage_at(step: int):
    for stage in STAGES:
        if step < stage.steps:
            return stage
        step -= stage.steps


def rate_at(step: int) -> float:
    """Factor of the learning rate: up, level, down."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (STEPS - step) / DECAY_STEPS)


def average_gradients(model):
    grads = [p.grad for p in model.parameters()]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= WORKERS
    for grad, part in zip(grads, flat.split([g.numel() for g in grads])):
        grad.copy_(part.view_as(grad))


def worker(rank: int, run: Path):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29517")
    dist.init_process_group("gloo", rank=rank, world_size=WORKERS)
    torch.manual_seed(SEED)
    encoder = chat.Encoder(chat.load_tokenizer(run / "tokenizer.json"), READ_WEIGHT)
    model = Llama(Config())
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() == 1 or "embed" in name]
    optimizers = [Muon(matrices, MUON_RATE), torch.optim.Adam(others, ADAM_RATE, betas=(0.9, 0.95))]
    rates = [MUON_RATE, ADAM_RATE]

    step, tokens_seen = 0, 0
    checkpoint = run / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        step, tokens_seen = saved["step"], saved["tokens"]

    def save():
        if rank == 0:
            saved = dict(model=model.state_dict(), optimizers=[o.state_dict() for o in optimizers], step=step, tokens=tokens_seen)
            torch.save(saved, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").rename(checkpoint)

    last_save = last_log = time.time()
    logged_tokens, running = tokens_seen, 0.0
    while stage := stage_at(step):
        grids = batch(random.Random(f"{SEED} {rank} {step}"), encoder, stage)
        total_weight = sum(loss_weights.sum() for _, loss_weights, _ in grids)
        said_loss, said_tokens = 0.0, 0
        for tokens, loss_weights, mask in grids:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(tokens, mask)
            losses = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
            weights = loss_weights[:, 1:].flatten()
            ((losses * weights).sum() / total_weight).backward()
            said_loss += losses.detach()[weights == 1].sum().item()
            said_tokens += (weights == 1).sum().item()
            tokens_seen += tokens.numel() * WORKERS
        running += said_loss / said_tokens
        average_gradients(model)
        for optimizer, rate in zip(optimizers, rates):
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_at(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        if rank == 0 and step % 20 == 0:
            now = time.time()
            rate = (tokens_seen - logged_tokens) / (now - last_log)
            print(f"{time.strftime('%H:%M:%S')} step {step} tokens {tokens_seen / 1e6:.2f}M loss {running / 20:.4f} {rate:.0f} tokens/s", flush=True)
            last_log, logged_tokens, running = now, tokens_seen, 0.0
        if step in STAGE_ENDS and rank == 0:  # kept for average.py
            torch.save(dict(model=model.state_dict()), run / f"step-{step}.pt")
        if time.time() - last_save > CHECKPOINT_SECONDS:
            save()
            last_save = time.time()
    save()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path(__file__).parent / "run", help="folder of tokenizer and checkpoints")
    run = parser.parse_args().run
    run.mkdir(parents=True, exist_ok=True)
    if not (run / "tokenizer.json").exists():
        rng = random.Random(SEED)
        drawn = (generate.conversation(rng) for _ in range(30_000))
        texts = (messages if isinstance(messages, str) else chat.render(messages, tools) for messages, tools in drawn)
        chat.train_tokenizer(texts, Config().vocab_size).save(str(run / "tokenizer.json"))
    (run / "config.json").write_text(json.dumps(Config().as_dict(), indent=2))
    mp.spawn(worker, (run,), nprocs=WORKERS)


if __name__ == "__main__":
    main()
