"""Tokenizer and chat template: how a conversation becomes tokens, the same here as in every engine.

The pre-tokenizer is the one llama.cpp knows as `smollm`: digits one by one, then GPT-2's pattern. Digits apart is what
makes sums learnable; a pattern llama.cpp knows by name is what makes the GGUF split text as `tokenizer.json` does.
"""

import json
from pathlib import Path

import jinja2
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # ids 0, 1, 2: padding, start and end of a turn
MARKERS = ["<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
END_OF_TURN = 2
TEMPLATE = (HERE / "chat_template.jinja").read_text()


def _environment():
    """As transformers sets jinja2 up."""
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return env


_template = _environment().from_string(TEMPLATE)


def render(messages, tools=None, add_generation_prompt=False) -> str:
    return _template.render(messages=messages, tools=tools or None, add_generation_prompt=add_generation_prompt)


def train_tokenizer(texts, vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(MARKERS), special_tokens=CONTROL, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Visible in the decoded text, unlike control tokens, because clients look for <tool_call> in it.
    tokenizer.add_tokens([AddedToken(marker, normalized=False, special=False) for marker in MARKERS])
    return tokenizer


def load_tokenizer(path) -> Tokenizer:
    return Tokenizer.from_file(str(path))


class Encoder:
    """Conversations to token ids and loss weights."""

    def __init__(self, tokenizer: Tokenizer, other_weight: float):
        self.tokenizer = tokenizer
        self.other_weight = other_weight
        self.answer_head = tokenizer.encode("<|im_start|>assistant\n").ids

    def encode(self, messages, tools=None):
        """A plain text may stand for the messages: all of it is learned.

        Weight 1 for what the assistant says, its end of turn included, less for what it only reads."""
        if isinstance(messages, str):
            ids = [*self.tokenizer.encode(messages).ids, END_OF_TURN]
            return ids, [1.0] * len(ids)
        ids = self.tokenizer.encode(render(messages, tools)).ids
        weights, speaking, head = [], False, len(self.answer_head)
        for i, token in enumerate(ids):
            weights.append(1.0 if speaking else self.other_weight)
            if token == END_OF_TURN:
                speaking = False
            elif ids[i + 1 - head : i + 1] == self.answer_head:
                speaking = True
        return ids, weights
