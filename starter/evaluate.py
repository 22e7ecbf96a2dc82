"""Ask the held-out questions at temperature 0 and count the right answers of each kind.

    python3 evaluate.py                      the committed questions, the shipped weights
    python3 evaluate.py --run run --limit 10 a training run's last checkpoint, ten questions a kind
    python3 evaluate.py --write              write heldout.jsonl anew
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import torch

import chat
import export
import generate
from model import Cache, Config, Llama

HERE = Path(__file__).parent
ANSWER_TOKENS_MAX = 160


@torch.no_grad()
def answer(model, tokenizer, messages, tools=None) -> str:
    """The most likely answer, decoded with its markers; None if the model does not end its turn."""
    prompt = tokenizer.encode(chat.render(messages, tools, add_generation_prompt=True)).ids
    cache, ids, said = Cache(), prompt, []
    while len(said) < ANSWER_TOKENS_MAX:
        token = int(model(torch.tensor([ids]), cache=cache)[0, -1].argmax())
        if token == chat.END_OF_TURN:
            return tokenizer.decode(said)
        said.append(token)
        ids = [token]
    return None


def is_right(text, expect) -> bool:
    """The rules that `README.md` states for each type of expectation."""
    if text is None:
        return False
    text = text.strip()
    if expect["type"] == "exact":
        return text == expect["value"]
    if expect["type"] == "json":
        return parsed(text) == expect["value"]
    if expect["type"] == "tool_call":
        match = re.fullmatch(r"<tool_call>\n(.*)\n</tool_call>", text, re.DOTALL)
        return bool(match) and parsed(match[1]) == {"name": expect["name"], "arguments": expect["arguments"]}
    if expect["type"] == "story":
        sentences = re.split(r"(?<=[.!?]) ", text)
        whole = all(re.match(r"[A-Z].*[.!?]$", sentence) for sentence in sentences)
        mentions = all(word.lower() in text.lower() for word in expect["contains"])
        return len(sentences) >= 3 and whole and mentions and text.endswith("The end.")
    raise ValueError(expect["type"])


def parsed(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def load_run(run: Path):
    config = Config(**json.loads((run / "config.json").read_text()))
    model = Llama(config)
    model.load_state_dict(torch.load(run / "checkpoint.pt", map_location="cpu")["model"])
    return model, chat.load_tokenizer(run / "tokenizer.json")


def scores(model, tokenizer, rows, report=lambda row, text: None) -> dict:
    """kind -> (right, asked)"""
    counts = defaultdict(lambda: [0, 0])
    for row in rows:
        text = answer(model, tokenizer, row["messages"], row.get("tools"))
        right = is_right(text, row["expect"])
        counts[row["kind"]][0] += right
        counts[row["kind"]][1] += 1
        if not right:
            report(row, text)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a training run; without it the shipped weights")
    parser.add_argument("--limit", type=int, help="questions of each kind")
    parser.add_argument("--kinds", help="only these, separated by commas")
    parser.add_argument("--fresh", type=int, metavar="SEED", help="other held-out questions than the committed ones")
    parser.add_argument("--wrong", action="store_true", help="show the wrong answers")
    parser.add_argument("--write", action="store_true", help="write heldout.jsonl")
    options = parser.parse_args()
    if options.write:
        rows = [json.dumps(generate.as_row(e), ensure_ascii=False) for e in generate.test_set()]
        (HERE / "heldout.jsonl").write_text("\n".join(rows) + "\n")
        return
    if options.fresh is not None:
        rows = [generate.as_row(e) for e in generate.test_set(seed=options.fresh)]
    else:
        rows = [json.loads(line) for line in (HERE / "heldout.jsonl").read_text().splitlines()]
    if options.kinds:
        rows = [row for row in rows if row["kind"] in options.kinds.split(",")]
    if options.limit:
        taken = defaultdict(int)
        rows = [row for row in rows if (taken.__setitem__(row["kind"], taken[row["kind"]] + 1) or taken[row["kind"]] <= options.limit)]
    model, tokenizer = load_run(options.run) if options.run else export.load(HERE / "model")
    torch.set_num_threads(1)

    def report(row, text):
        if options.wrong:
            print(f"{row['kind']}: {row['messages'][-1]['content']!r}\n    expected {row['expect']}\n    got      {text!r}")

    for kind, (right, asked) in scores(model, tokenizer, rows, report).items():
        print(f"{kind:16} {right:3}/{asked:<3} {right / asked:6.1%}")


if __name__ == "__main__":
    main()
