"""A stage of examples/09_gpt_road.py trained by PyTorch: the same model, seed and order of draws,
so that a distance from the lecture can be told from a fault of this engine. Three times: as it is,
and twice from weights changed in their last digit, which shows how far rounding alone drives two
trainings apart. It measures no time.

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
    "from tinygrad_lm import nn\n": "from torch import nn\n",
    "from tinygrad_lm.look import viz": "",
    "from tinygrad_lm.nn import functional as F": "from torch.nn import functional as F",
    "from tinygrad_lm.optim import AdamW": "from torch.optim import AdamW",
    "from tinygrad_lm.text.generation import generate": "",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", default="layernorm")
    parser.add_argument("--data", default="shakespeare")
    parser.add_argument("--threads", type=int, default=1)
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
    torch.set_num_threads(args.threads)
    text = common.Text(args)
    found = []
    for turn in range(3):
        torch.manual_seed(1337)
        model = step["Model"](stage, order[: order.index(args.stage) + 1], text.size)
        signs = torch.Generator().manual_seed(turn)
        for p in model.parameters() if turn else ():
            p.data *= 1 + 1.2e-7 * (torch.rand(p.shape, generator=signs) - 0.5).sign()
        history = step["train"](model, text, stage.rate, stage.steps, stage.every, 200)
        last = history[max(history)].items()
        found.append({split: round(loss, 4) for split, loss in last})
        print(args.stage, ["as it is", "other last digits"][turn > 0], found[-1], flush=True)
    record = {"stage": args.stage, "pytorch": found[0], "other_last_digits": found[1:]}
    harness.save(f"road-{args.stage}", {**record, "machine": harness.machine()})


if __name__ == "__main__":
    main()
