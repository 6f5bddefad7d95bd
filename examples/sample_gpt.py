"""Let the GPT that `train_gpt.py` saved write, at three temperatures. A folder that
`tinygrad-lm train` made works as well.
"""

import argparse

import tinygrad_lm as torch
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.text.generation import generate_text, start_of_text

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--data", default="out-example", help="folder of the checkpoint")
parser.add_argument("--device", default="cpu", help="cpu or cuda")
parser.add_argument("--seed", type=int, default=1337)
parser.add_argument("--steps", type=int, default=200, help="characters per text")
parser.add_argument("--prompt", help="what the text begins with (else a new line)")
args = parser.parse_args()

model, tokenizer = load_gpt(args.data, "last", args.device)
prompt = start_of_text(tokenizer) if args.prompt is None else args.prompt
for temperature in (0.5, 0.8, 1.1):
    print(f"--- temperature {temperature}")
    generator = torch.Generator().manual_seed(args.seed)
    options = {"temperature": temperature, "generator": generator}
    print(generate_text(model, tokenizer, prompt, args.steps, **options))
