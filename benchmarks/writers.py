"""Text with a cache of keys and values, ours and PyTorch's, for generate.py and cpu_vs_gpu.py. A
writer takes ids (B, T) and how many tokens shall follow; it gives the logits (B, V) that each was
drawn from, and reads nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from device_works import Built, On
from works import GPT2, Size, gpt_class

GPT2_124M = Size(12, 12, 768, 256, 1, **GPT2)

Writer = Callable[[Any, int], Iterator[Any]]


def drawn(torch: Any, model: Any) -> Any:
    """The model with weights that are the same in both modules."""
    torch.manual_seed(1337)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(0.02 * torch.randn(p.shape) + float("ln_" in name and "weight" in name))
    return model.eval()


def ours(on: On, size: Size, room: int, store: bool = False) -> Writer:
    """The library's own loop. store: the matrices in 16 bits, on a CPU."""
    from tinygrad_lm.models.gpt import GPT, GPTConfig
    from tinygrad_lm.text.generation import steps
    from tinygrad_lm.text.sampling import Sampling

    config = GPTConfig(room, size.vocabulary, size.layers, size.heads, size.width)
    model = on.model(drawn(on.torch, GPT(config)))
    if store:
        model.store_weights(on.torch.bfloat16)
    return lambda ids, n: (step.logits for step in steps(model, ids, n, Sampling()))


def theirs(on: On, size: Size, room: int) -> Writer:
    """The network of works.py with a cache that is there already. Compiled, a token's pass and its
    draw are one program over a cache of fixed size with a mask, as gpt-fast has it."""
    torch, F = on.torch, on.torch.nn.functional
    model = drawn(torch, gpt_class(torch)(dataclasses.replace(size, context=room)))
    kind, eager = torch.bfloat16 if on.dtype == "bfloat16" else torch.float32, on.mode == "eager"
    model, D = model.to(on.device, kind), size.width // size.heads
    shape = (size.batch, size.heads, room, D)
    cache = [[torch.zeros(shape, dtype=kind, device=on.device) for _ in "kv"] for _ in model.h]
    if not eager:
        for memory in sum(cache, []):  # a CUDA graph writes into these, and copies none of them
            torch._dynamo.mark_static_address(memory)
    places = torch.arange(room, device=on.device)

    def attend(q: Any, k: Any, v: Any, past: Any, at: Any, end: int | None) -> Any:
        """end: how many positions there are, where that may be another number each time."""
        for memory, new in zip(past, (k, v)):
            memory.index_copy_(2, at, new)
        if end is None:
            return F.scaled_dot_product_attention(q, *past, attn_mask=(places <= at)[None])
        k, v = (memory[:, :, :end] for memory in past)
        return F.scaled_dot_product_attention(q, k, v, is_causal=len(at) > 1)

    def one(ids: Any, at: Any, end: int | None) -> tuple[Any, Any]:
        """The logits for what follows, and the id that was drawn from them. torch.multinomial would
        wait; this draws the same distribution without."""
        B, T = ids.shape
        x = model.wte(ids) + model.wpe(at)
        for block, past in zip(model.h, cache):
            parts = block.attn.c_attn(block.ln_1(x)).split(size.width, dim=2)
            heads = [z.view(B, T, size.heads, D).transpose(1, 2) for z in parts]
            y = attend(*heads, past, at, end).transpose(1, 2).reshape(B, T, size.width)
            x = x + block.attn.c_proj(y)
            x = x + block.c_proj(block.gelu(block.c_fc(block.ln_2(x))))
        logits = model.lm_head(model.ln_f(x[:, -1:]))[:, -1]
        probs = logits.float().softmax(-1)
        return logits, (probs / torch.empty_like(probs).exponential_(1)).argmax(-1, keepdim=True)

    fast = on.compiled(one)

    @torch.no_grad()
    def write(ids: Any, n: int) -> Iterator[Any]:
        at = ids.shape[1]
        logits, chosen = one(ids, places[:at], at)
        yield logits
        for end in range(at + 1, at + n):
            logits, chosen = fast(chosen, places[end - 1 : end], end if eager else None)
            if not eager:
                chosen = chosen.clone()  # the next replay writes over its results
            yield logits

    return write


def generation(on: On, batch: int, size: Size = GPT2_124M, tokens: int = 16) -> Built:
    """`batch` texts, each `tokens` after as many. What comes out is what was expected of the first
    new token: those after it depend on draws."""
    torch = on.torch
    size = dataclasses.replace(size, batch=batch)
    write = (theirs if on.theirs else ours)(on, size, 2 * tokens)
    ids = torch.randint(0, size.vocabulary, (batch, tokens)).to(on.device)

    def step(ids: Any) -> Any:
        first, *_ = write(ids, tokens)
        return first

    return Built(step, [(ids,)], batch * tokens, 2.0 * 2 * batch * tokens * size.parameters)
