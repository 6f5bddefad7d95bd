"""Step 13: GPT-2's files: load them, let them write, fine-tune them, hand the result on.

"Let's reproduce GPT-2" begins with them (0:03 to 0:13).
`--weights` names a folder with GPT-2's files as Hugging Face has them (config.json,
model.safetensors, a tokenizer), or gpt2, which is downloaded. Without it the step makes such a
folder first: a small model of GPT-2's shape, with a tokenizer of its own, pretrained on the manual
that every Python carries. Then, from the folder alone: what does it write, and how many bits does a
byte of another text cost it? It learns a little of that text, once with all weights and once with
low-rank additions to its matrices (LoRA): here 7 % as many numbers, for GPT-2's own 1 %.

    python examples/13_gpt2.py                     # a minute
    python examples/13_gpt2.py --full              # 3,000 steps on the manual, then 200
    python examples/13_gpt2.py --weights gpt2      # OpenAI's 124 million; some minutes
"""

import common
from common import progress

import tinygrad_lm as torch
from tinygrad_lm.data import load_text
from tinygrad_lm.look import viz
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.models.lora import add_lora, merge_lora
from tinygrad_lm.text.generation import generate_text
from tinygrad_lm.text.tokenizers import BPETokenizer
from tinygrad_lm.training import TrainConfig, Trainer
from tinygrad_lm.training.evaluation import perplexity

VOCABULARY, T = 1024, 64
SHORT, HELD_OUT = 40_000, 10_000  # characters to learn from, and to be judged by


def make_weights(folder, text, steps):
    """A folder like GPT-2's."""
    tokenizer = BPETokenizer.train(text, VOCABULARY)
    shape = {"n_layer": 4, "n_head": 4, "n_embd": 128, "activation": "gelu_new"}
    model = GPT(GPTConfig(T, tokenizer.vocab_size, **shape))
    train(model, tokenizer.encode_array(text), steps, 3e-3, 16)
    model.save_pretrained(folder, tokenizer, overwrite=True)


def train(model, ids, steps, rate, B, judge=None):
    """{step: what judge() says}."""
    T = min(model.config.block_size, 128)
    sizes = {"block_size": T, "batch_size": B, "device": torch.get_default_device().type}
    rates = {"learning_rate": rate, "max_iters": steps, "warmup_iters": steps // 10}
    trainer = Trainer(model, {"train": ids}, TrainConfig(**sizes, **rates))
    history, every = {}, max(steps // 5, 1)
    for step in progress(steps + 1):
        if judge and (step % every == 0 or step == steps):
            history[step] = judge()
        if step < steps:
            trainer.update()
    return history


def read_texts(args):
    """The manual, a short text, and its held-out part. If the short one is from the manual too, it
    is the end of it."""
    second, first = common.read_text(args), load_text("builtin")
    if args.data == "builtin":
        cut = len(first) - SHORT - HELD_OUT
        first, second = first[:cut], first[cut:]
    return first, second[:SHORT], second[SHORT : SHORT + HELD_OUT]


def main():
    extra = {"weights": "a folder with GPT-2's files, or gpt2 (else a small one is made here)"}
    args = common.arguments(__doc__, 400, 3_000, "shakespeare", 1337, extra)
    first, short, held_out = read_texts(args)
    if args.weights is None:
        print(f"no --weights: {args.steps} steps on the manual make a small model of GPT-2's shape")
        args.weights = args.models / "gpt2-shaped"
        make_weights(args.weights, first, args.steps)
    few, curves, writing = max(args.steps // 15, 1), {}, {"temperature": 0.8, "top_p": 0.95}
    start = held_out[: held_out.find("\n") + 1]
    for what, rank in (("all weights", 0), ("LoRA, rank 8", 8)):
        try:
            model, tokenizer = load_gpt(args.weights)
        except (OSError, ValueError) as error:
            raise SystemExit(str(error)) from None
        large = model.config.n_embd >= 768

        def bits(model=model, tokenizer=tokenizer):
            return perplexity(model, tokenizer, held_out).bits_per_byte

        if rank == 0:
            count = model.get_num_params(False)
            print(f"{args.weights}: {count:,} parameters, {tokenizer.vocab_size:,} tokens")
            print(f"before: {generate_text(model, tokenizer, start, 60, **writing)}")
            common.result(args, "before: bits per byte", bits())
        else:
            add_lora(model, rank, targets=("c_attn", "c_proj", "c_fc"))
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            print(f"LoRA trains {trained:,} of {model.get_num_params(False):,} parameters")
        rate = (2e-4 if large else 1e-3) * (5 if rank else 1)
        history = train(model, tokenizer.encode_array(short), few, rate, 4 if large else 16, bits)
        curves[what] = (list(history), list(history.values()))
        common.result(args, f"fine-tuned, {what}: bits per byte", history[few])
        if rank == 0:
            print(f"after: {generate_text(model, tokenizer, start, 60, **writing)}")
        else:
            merge_lora(model)
            model.save_pretrained(args.models / "gpt2-fine-tuned", tokenizer, overwrite=True)
    how = {"xlabel": f"step on {SHORT:,} characters", "ylabel": "bits per byte held out"}
    how["title"] = "Fine-tuning all weights, or a few"
    common.picture(args, "13_gpt2.png", viz.plot_lines, curves, **how)
    print(f"saved: tinygrad-lm serve --checkpoint {args.models / 'gpt2-fine-tuned'}")


if __name__ == "__main__":
    main()
