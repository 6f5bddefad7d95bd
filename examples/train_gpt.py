"""Train a GPT on a text: the whole loop on one screen, from the parts of `tinygrad-lm train`.

What is left out here: resuming, Ctrl-C, metrics in a file. `sample_gpt.py` reads what this saves.
"""

import argparse

import tinygrad_lm as torch
from tinygrad_lm.data import load_text
from tinygrad_lm.models.checkpoints import model_state
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn.utils import clip_grad_norm_
from tinygrad_lm.saving import save_checkpoint
from tinygrad_lm.text.generation import generate_text
from tinygrad_lm.text.tokenizers import CharTokenizer
from tinygrad_lm.training import TrainConfig, batch_at, draw_offsets, split_tokens

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--data", default="builtin", help="shakespeare, names, builtin or a file")
parser.add_argument("--device", default="cpu", help="cpu or cuda")
parser.add_argument("--seed", type=int, default=1337)
parser.add_argument("--steps", type=int, default=1000)
parser.add_argument("--out", default="out-example", help="folder for the checkpoint")
args = parser.parse_args()

torch.manual_seed(args.seed)
text = load_text(args.data)
tokenizer = CharTokenizer.from_text(text)
config = TrainConfig(max_iters=args.steps, warmup_iters=min(100, args.steps // 10))
tokens = split_tokens(tokenizer.encode_array(text), config)

shape = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": config.block_size}
model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, bias=False, **shape)).to(args.device)
optimizer = model.configure_optimizers(0.1, config.learning_rate, (0.9, 0.99))
print(f"{len(text):,} characters, {model.get_num_params():,} parameters")


def batch(split):
    """Inputs and targets from random places of the text, (B, T) each."""
    offsets = draw_offsets(tokens[split], config.block_size, config.batch_size)
    return batch_at(tokens[split], offsets, config.block_size, args.device)


@torch.no_grad()
def estimate_loss(batches=10):
    model.eval()
    means = {s: sum(model(*batch(s))[1].item() for _ in range(batches)) / batches for s in tokens}
    model.train()
    return means


for step in range(args.steps + 1):
    if step % 250 == 0 or step == args.steps:
        losses = estimate_loss()
        print(f"step {step}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
        save_checkpoint(args.out, *model_state(model, tokenizer))
    if step == args.steps:
        break
    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    _, loss = model(*batch("train"))
    loss.backward()
    clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()

start = "\n" if "\n" in text else text[0]
print(generate_text(model, tokenizer, start, 300, temperature=0.8))
