"""The network: a plain llama decoder in PyTorch, small enough to train on two CPU cores.

Rotary position embedding pairs dimension i with i + 32 of a head (Hugging Face's convention);
`export.py` reorders the rows of q and k for GGUF, which pairs neighbours.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass(frozen=True)
class Config:
    vocab_size: int = 1024
    width: int = 192
    layers: int = 5
    heads: int = 3
    feed_forward: int = 448
    context: int = 1024
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    def as_dict(self) -> dict:
        return asdict(self)


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotary_tables(config: Config):
    """cos and sin of shape [context, head_size], the sine's first half negated for `rotate`."""
    half = config.head_size // 2
    frequency = config.rope_theta ** (-torch.arange(half).float() / half)
    angle = torch.outer(torch.arange(config.context).float(), frequency)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((x[..., half:], x[..., :half]), -1) * sin


class Block(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        width, hidden = config.width, config.feed_forward
        self.heads = config.heads
        self.attn_norm = RMSNorm(width, config.norm_eps)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        self.ffn_norm = RMSNorm(width, config.norm_eps)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin, mask, cache=None):
        batch, length, width = x.shape
        h = self.attn_norm(x)
        q, k, v = (
            proj(h).view(batch, length, self.heads, -1).transpose(1, 2) for proj in (self.q, self.k, self.v)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.extend(self, k, v)
        scores = (q @ k.transpose(-1, -2)) * (q.shape[-1] ** -0.5) + mask
        mixed = (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.o(mixed)
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        cos, sin = rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)
            if name.endswith(("o.weight", "down.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * config.layers) ** 0.5)

    def forward(self, tokens, mask=None, cache=None):
        """Logits. `mask` is added to the attention scores and broadcasts to [batch, heads, query, key]."""
        past, length = (cache.length if cache else 0), tokens.shape[1]
        if mask is None:
            mask = causal_mask(past + length)[past:]
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos[past : past + length], self.sin[past : past + length], mask, cache)
        return F.linear(self.norm(x), self.embed.weight)


class Cache:
    """Keys and values of the tokens already seen, by block."""

    def __init__(self):
        self.seen = {}

    @property
    def length(self) -> int:
        return next(iter(self.seen.values()))[0].shape[2] if self.seen else 0

    def extend(self, block, k, v):
        if block in self.seen:
            k, v = (torch.cat(pair, 2) for pair in zip(self.seen[block], (k, v)))
        self.seen[block] = k, v
        return k, v


def causal_mask(length: int):
    return torch.full((length, length), float("-inf")).triu(1)
