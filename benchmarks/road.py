"""A stage of examples/09_gpt_road.py trained by PyTorch: the same model, seed and order of draws,
so that a distance from the lecture can be told from a fault of this engine. Measures no time.

    python benchmarks/road.py --stage layernorm
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import harness

EXAMPLES = Path(__file__).parents[1] / "examples"
IN_PYTORCH = {
    "import tinygrad_lm as torch": "import torch",
    "from tinygrad_lm import nn, viz": "from torch import nn",
    "from tinygrad_lm.generation import generate": "",
    "from tinygrad_lm.nn import functional as F": "from torch.nn import functional as F",
    "from tinygrad_lm.optim import AdamW": "from torch.optim import AdamW",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", default="layernorm")
    parser.add_argument("--data", default="shakespeare")
    args = parser.parse_args()
    sys.path.insert(0, str(EXAMPLES))
    import common
    import torch

    common.torch = torch  # its Text then makes PyTorch's tensors
    source = (EXAMPLES / "09_gpt_road.py").read_text("utf-8")
    for ours, theirs in IN_PYTORCH.items():
        if ours not in source:
            raise SystemExit(f"[road] 09_gpt_road.py must import with {ours!r}, and does not")
        source = source.replace(ours, theirs)
    step: dict = {"__name__": "road"}
    exec(compile(source, "09_gpt_road.py", "exec"), step)
    stage, order = step["ROAD"][args.stage], list(step["ROAD"])
    torch.set_num_threads(1)
    text = common.Text(args)
    torch.manual_seed(1337)
    model = step["Model"](stage, order[: order.index(args.stage) + 1], text.size)
    history = step["train"](model, text, stage.rate, stage.steps, stage.every, 200)
    last = {split: round(loss, 4) for split, loss in history[max(history)].items()}
    record = {"stage": args.stage, "pytorch": last, "machine": harness.machine()}
    harness.save(f"road-{args.stage}", record)
    print(args.stage, last)


if __name__ == "__main__":
    main()
