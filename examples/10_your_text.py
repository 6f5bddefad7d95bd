"""Step 10: a GPT on a text of your own, from the parts of the library.

Follows the last part of "Let's build GPT" (1:46:22), which walks through nanoGPT: the same model
with one matrix for reading and writing tokens, a warm-up, a falling rate, clipping. By default the
configuration that nanoGPT has for computers without a GPU, on tiny Shakespeare; `--data my.txt` for
another text. It writes after each quarter, and a picture shows where its heads look. To keep a
model, and to go on where a run stopped: `tinygrad-lm train --data my.txt`.

    python examples/10_your_text.py --data my.txt            # seconds
    python examples/10_your_text.py --full --data my.txt     # 2,000 steps
"""

import common
from common import Text, progress

import tinygrad_lm as torch
from tinygrad_lm.look import viz
from tinygrad_lm.look.study import attention_maps
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.generation import generate_text
from tinygrad_lm.training import PRESETS, TrainConfig, Trainer


def configure(args):
    """nanoGPT's numbers; in a short run a smaller model, and a higher rate after less warm-up."""
    config = {**PRESETS["shakespeare-cpu"], "data": args.data, "device": args.device}
    config |= {"seed": args.seed, "max_iters": args.steps}
    if not args.full:
        config |= {"n_layer": 2, "block_size": 32, "batch_size": 16, "learning_rate": 4e-3}
        config |= {"warmup_iters": args.steps // 10, "eval_interval": max(args.steps // 4, 1)}
    return TrainConfig(**config)


def write(model, text, start, length, seed):
    """A continuation, drawn from a stream of its own so that training is not affected."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    options = {"temperature": 0.8, "generator": generator}
    return generate_text(model, text.tokenizer, start, length, **options)


def main():
    args = common.arguments(__doc__, 200, 2_000, "shakespeare", 1337)
    text = Text(args)
    config = configure(args)
    torch.manual_seed(config.seed)
    shape = {k: getattr(config, k) for k in ("n_layer", "n_head", "n_embd", "block_size", "bias")}
    model = GPT(GPTConfig(vocab_size=text.size, **shape)).to(args.device)
    print(
        f"{len(text.train) + len(text.val):,} characters, {text.size} of them different,", end=" "
    )
    print(f"{model.get_num_params():,} parameters")

    splits = {"train": text.train.cpu().numpy(), "val": text.val.cpu().numpy()}
    trainer = Trainer(model, splits, config)
    start = text.tokenizer.decode(text.val[:1].tolist())
    history = {}
    for step in progress(args.steps + 1):
        if step % config.eval_interval == 0 or step == args.steps:
            history[step] = trainer.evaluate()
            sample = write(model, text, start, 60, args.seed).strip()
            print(f"step {step}: val {history[step]['val']:.4f}: {sample!r}", flush=True)
        if step < args.steps:
            trainer.update()

    floor, last = text.bigram_loss(), history[args.steps]
    for split, reference in (("train", 1.7648), ("val", 1.8857)):
        common.result(args, f"GPT on {args.data}: {split}", last[split], reference, floor)
    curves = {s: (list(history), [losses[s] for losses in history.values()]) for s in last}
    how = {
        "marks": {"pairs counted": floor},
        "xlabel": "step",
        "ylabel": "loss, nats per character",
        "title": f"A GPT on {args.data}",
    }
    common.picture(args, "10_losses.png", viz.plot_lines, curves, **how)
    excerpt = text.val[None, :24]
    maps = attention_maps(model, excerpt)[-1][0]  # of the last block, (H, T, T)
    characters = [text.tokenizer.decode([i]) for i in excerpt[0].tolist()]
    title = "Where each character looks: a row is one that looks, the darker the more"
    common.picture(args, "10_attention.png", viz.plot_attention, maps, characters, title=title)
    print(write(model, text, start, 300, args.seed))


if __name__ == "__main__":
    main()
