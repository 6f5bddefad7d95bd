"""Step 14: from a text to somebody who answers: the road of nanochat, in small.

Byte pairs and special tokens are those of "Let's build the GPT Tokenizer" (0:05 to 1:10). First a
tokenizer is made from the text, then a GPT is pretrained on it, as in the steps before.
Then come dialogues: who speaks is said by special tokens, and only what the assistant says is
graded (targets -1 elsewhere, as in step 11). The dialogues are made here: questions about days,
months, numbers and words, of which some are kept for the test. The same dialogues without
pretraining show what reading a text before was worth: for questions as simple as these, nothing.

    python examples/14_chat.py                     # a minute
    python examples/14_chat.py --full              # 3,000 steps, then 1,500
    tinygrad-lm chat --checkpoint out/chat         # talk to it in the terminal
    tinygrad-lm serve --checkpoint out/chat        # or on a page in the browser
"""

import random

import common
from common import progress

import tinygrad_lm as torch
from tinygrad_lm.look import viz
from tinygrad_lm.models.checkpoints import model_state
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.saving.checkpoint import save_checkpoint
from tinygrad_lm.text.chat import SPECIAL, conversation, reply
from tinygrad_lm.text.generation import generate_text
from tinygrad_lm.text.tokenizers import BPETokenizer
from tinygrad_lm.training import TrainConfig, Trainer

VOCABULARY, T, B = 512, 64, 16
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December".split()
)
WORDS = "apple bread chair door earth flower garden house island jacket kitchen lemon".split()


def questions():
    """(kind, question, answer): all that can be asked."""
    found = []
    for names, what in ((DAYS, "day"), (MONTHS, "month")):
        for i, name in enumerate(names):
            after, before = names[(i + 1) % len(names)], names[i - 1]
            found.append((what, f"Which {what} comes after {name}?", f"{after}."))
            found.append((what, f"Which {what} comes before {name}?", f"{before}."))
    for n in range(1, 100):
        found.append(("number", f"Which number comes after {n}?", f"{n + 1}."))
        found.append(("number", f"Which number comes before {n}?", f"{n - 1}."))
    for a in range(3, 60, 7):
        for b in range(2, 60, 6):
            if a != b:
                found.append(("larger", f"Which is larger, {a} or {b}?", f"{max(a, b)}."))
    for word in WORDS:
        found.append(("say", f"Say {word} twice.", f"{word} {word}"))
        found.append(("say", f"Say {word} three times.", f"{word} {word} {word}"))
        found.append(("say", f"What is the first letter of {word}?", f"{word[0]}."))
    return found


def dialogue(pairs):
    return [
        {"role": role, "content": text}
        for _, question, answer in pairs
        for role, text in (("user", question), ("assistant", answer))
    ]


def rows_of(tokenizer, asked, count):
    """(x, y), (count, T) each: dialogues of one to three questions; y is -1 where nothing is
    graded, beyond the end too."""
    x = torch.full((count, T), tokenizer.special["<|endoftext|>"])
    y = torch.full((count, T), -1)
    for row in range(count):
        chosen = random.choices(asked, k=random.randint(1, 3))
        ids, graded = conversation(dialogue(chosen), tokenizer)
        n = min(len(ids) - 1, T)
        x[row, :n] = torch.tensor(ids[:n])
        y[row, :n] = torch.tensor([i if g else -1 for i, g in zip(ids[1:], graded[1:])][:n])
    return x, y


@torch.no_grad()
def right(model, tokenizer, asked):
    """Which share of the questions is answered word for word, in %, taking the likeliest tokens."""
    model.eval()
    count = 0
    for pair in asked:
        said = reply(model, tokenizer, dialogue([pair])[:1], 12, greedy=True)
        count += "".join(piece.text for piece in said).strip() == pair[2]
    model.train()
    return 100 * count / len(asked)


def fine_tune(model, tokenizer, asked, held_out, steps):
    """{step: % of unseen questions answered}."""
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99))
    history, every = {}, max(steps // 6, 1)
    for step in progress(steps + 1):
        if step % every == 0 or step == steps:
            history[step] = right(model, tokenizer, held_out)
        if step < steps:
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1, (step + 1) / 50, 2 * (1 - step / steps))
            loss = model(*rows_of(tokenizer, asked, B))[1]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return history


def pretrain(model, ids, steps):
    """The last training loss, a mean over 20 steps."""
    sizes = {"block_size": T, "batch_size": B, "device": torch.get_default_device().type}
    rates = {"learning_rate": 2e-3, "max_iters": steps, "warmup_iters": steps // 10}
    trainer = Trainer(model, {"train": ids}, TrainConfig(**sizes, **rates))
    losses = [trainer.update()["loss"] for _ in progress(steps)]
    return sum(losses[-20:]) / len(losses[-20:])


def new_model(tokenizer):
    return GPT(GPTConfig(T, tokenizer.vocab_size, n_layer=4, n_head=4, n_embd=128, bias=False))


def main():
    args = common.arguments(__doc__, 600, 3_000, "shakespeare", 1337)
    random.seed(args.seed)
    text = common.read_text(args)
    asked = questions()
    random.shuffle(asked)
    held_out, asked = asked[:50], asked[50:]
    words = "\n".join(f"{question} {answer}" for _, question, answer in asked)
    tokenizer = BPETokenizer.train([text, words], VOCABULARY, SPECIAL)
    ids = tokenizer.encode_array(text)
    print(f"{len(text):,} characters are {len(ids):,} tokens of {tokenizer.vocab_size}")

    model = new_model(tokenizer)
    loss = pretrain(model, ids, args.steps)
    common.result(args, "pretrained: loss per token", loss)
    print(generate_text(model, tokenizer, text[:20], 60, temperature=0.8, top_p=0.9))
    common.result(args, "pretrained: % of questions answered", right(model, tokenizer, held_out))
    few, curves = max(args.steps // 2, 1), {}
    for what, start in (("dialogues alone", new_model(tokenizer)), ("the text first", model)):
        history = fine_tune(start, tokenizer, asked, held_out, few)
        curves[what] = (list(history), list(history.values()))
        common.result(args, f"{what}: % of questions answered", history[few])
    how = {"xlabel": "step on dialogues", "ylabel": "% of unseen questions answered"}
    how["title"] = "Answers, with and without reading first"
    common.picture(args, "14_chat.png", viz.plot_lines, curves, **how)
    for pair in held_out[:8]:
        said = "".join(
            p.text for p in reply(model, tokenizer, dialogue([pair])[:1], 12, greedy=True)
        )
        print(f"  {pair[1]:40s} {said:12s} ({pair[2]})")
    save_checkpoint(args.models / "chat", *model_state(model, tokenizer), "best")
    if args.steps < 3_000:
        print(
            "after so few steps most answers are guesses, with pretraining or without: try --full"
        )
    print(f"saved: tinygrad-lm chat --checkpoint {args.models / 'chat'}")


if __name__ == "__main__":
    main()
