"""Made-up names, enough to learn from and too few to wait for. Only a list and its characters."""

import random


def make_words(n=400):
    rng = random.Random(5)
    starts = "ka mi ro ta le sha no el bri an jo da".split()
    middles = "ra li na vo me sto ki la ren si".split()
    ends = "n a e th ra lyn o is da".split()
    parts = (starts, middles, ends)
    return ["".join(map(rng.choice, parts[: rng.choice((2, 3, 3))])) for _ in range(n)]


def make_vocabulary(words):
    chars = sorted(set("".join(words)))
    stoi = {s: i + 1 for i, s in enumerate(chars)}
    stoi["."] = 0
    return stoi, {i: s for s, i in stoi.items()}
