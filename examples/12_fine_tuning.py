"""Step 12: a GPT that has read one text before it is shown a little of another.

An exercise that "Let's build GPT" suggests below the video, after its remarks on pretraining and
fine-tuning (1:48:53): first a long text, then a short one with a lower rate and few steps. Here the
long one is the language manual that every Python carries, and the short one 20,000 characters of
`--data`; it is compared with a model that saw only one of the two. Both texts share one table of
characters: what the first has never shown is learned from the second.

    python examples/12_fine_tuning.py            # seconds
    python examples/12_fine_tuning.py --full     # 2,000 steps, then 500
"""

import common
from common import progress

import tinygrad_lm as torch
from tinygrad_lm.data import load_text
from tinygrad_lm.look import viz
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.generation import generate_text
from tinygrad_lm.text.tokenizers import CharTokenizer
from tinygrad_lm.training import TrainConfig, Trainer

SHORT, HELD_OUT = 20_000, 10_000  # characters of the second text: to learn from, to be judged by
B, T = 16, 32


def new_model(V):
    return GPT(GPTConfig(T, V, n_layer=2, n_head=4, n_embd=128, bias=False))


@torch.no_grad()
def held_out_loss(model, ids):
    """Over the whole of ids, T characters at a time."""
    rows = torch.tensor(ids)
    count = (len(ids) - 1) // T * T
    return model(rows[:count].view(-1, T), rows[1 : count + 1].view(-1, T))[1].item()


def train(model, ids, held_out, steps, rate):
    """{step: loss on the held-out part of the short text}."""
    sizes = {"block_size": T, "batch_size": B, "device": torch.get_default_device().type}
    rates = {"learning_rate": rate, "max_iters": steps, "warmup_iters": steps // 10}
    trainer = Trainer(model, {"train": ids}, TrainConfig(**sizes, **rates))
    history, every = {}, max(steps // 5, 1)
    for step in progress(steps + 1):
        if step % every == 0 or step == steps:
            history[step] = held_out_loss(model, held_out)
        if step < steps:
            trainer.update()
    return history


def pairs_loss(ids, held_out, V):
    """The floor: pairs counted in the short text (and one more each)."""
    ids, held_out = torch.tensor(ids), torch.tensor(held_out)
    counts = torch.bincount(ids[:-1] * V + ids[1:], minlength=V * V).view(V, V).float() + 1
    log_probs = (counts / counts.sum(1, keepdim=True)).log()
    return -log_probs[held_out[:-1], held_out[1:]].mean().item()


def read_texts(args):
    """The long text, the short one, and its held-out part. If the short one is from the manual too,
    it is the end of it."""
    second = common.read_text(args)
    first = load_text("builtin")
    if args.data == "builtin":
        cut = len(first) - SHORT - HELD_OUT
        first, second = first[:cut], first[cut:]
    if len(second) < SHORT + HELD_OUT:
        raise SystemExit(
            f"[--data] must hold {SHORT + HELD_OUT} characters, got {len(second)}; a longer text?"
        )
    return first, second[:SHORT], second[SHORT : SHORT + HELD_OUT]


def main():
    args = common.arguments(__doc__, 300, 2_000, "shakespeare", 1337)
    texts = read_texts(args)
    tokenizer = CharTokenizer.from_text("".join(texts))
    first, short, held_out = (tokenizer.encode_array(text) for text in texts)
    V, few = tokenizer.vocab_size, max(args.steps // 4, 1)
    print(f"{len(first):,} characters of the manual, {SHORT:,} of {args.data}, {V} in the table")
    floor = pairs_loss(short, held_out, V)

    torch.manual_seed(args.seed)
    reader = new_model(V)
    read = train(reader, first, held_out, args.steps, 4e-3)
    common.result(args, "the long text alone", read[args.steps], None, floor)
    curves = {}
    for what, model, rate in (
        ("the short text alone", new_model(V), 4e-3),
        ("the long text, then the short one", reader, 2e-3),
    ):
        history = train(model, short, held_out, few, rate)
        curves[what] = (list(history), list(history.values()))
        common.result(args, what, history[few], None, floor)
    how = {"xlabel": f"step on {SHORT:,} characters", "ylabel": "loss on those held out"}
    how["title"] = "A little text, after much of another and alone"
    marks = {"pairs counted": floor}
    common.picture(args, "12_fine_tuning.png", viz.plot_lines, curves, marks=marks, **how)
    start = texts[2][:1]
    print(generate_text(reader, tokenizer, start, 200, temperature=0.8))


if __name__ == "__main__":
    main()
