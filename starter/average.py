"""Average checkpoints into one: `python3 average.py OUT 1:run/step-3703.pt 3:run/step-4263.pt 3:run/step-4493.pt`.

Checkpoints of the last stages lie around the same minimum; their mean answers a few questions more than each of them.
OUT becomes a run folder that `export.py --run OUT` and `evaluate.py --run OUT` take.
"""

import shutil
import sys
from pathlib import Path

import torch


def average(weighted: list) -> dict:
    """Mean of the checkpoints' weights; `weighted` holds (weight, path)."""
    total = sum(weight for weight, _ in weighted)
    mean = {}
    for weight, path in weighted:
        for name, value in torch.load(path, map_location="cpu")["model"].items():
            mean[name] = mean.get(name, 0) + value.float() * (weight / total)
    return mean


def main():
    out, *given = sys.argv[1:]
    weighted = [(float(weight), Path(path)) for weight, _, path in (one.partition(":") for one in given)]
    Path(out).mkdir(parents=True, exist_ok=True)
    torch.save({"model": average(weighted)}, Path(out) / "checkpoint.pt")
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(weighted[0][1].parent / name, out)


if __name__ == "__main__":
    main()
