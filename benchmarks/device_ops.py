"""Single ops, and what it costs to bring data to a GPU and back: programs for cpu_vs_gpu.py."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from device_works import Built, On
from works import Size, gpt_class

# ---------------------------------------------------------------- single ops


def op(on: On, name: str, n: int) -> Built:
    """Forward only, no graph: an element-wise op, or one over rows of 1024."""
    torch, F = on.torch, on.torch.nn.functional
    torch.manual_seed(1)
    width = min(n, 1024)
    x = on.put(torch.randn(max(1, n // width), width))
    weight, bias = on.put(torch.ones(width)), on.put(torch.zeros(width))
    calls = {
        "add": lambda x: x + x,
        "exp": lambda x: x.exp(),
        "sum": lambda x: x.sum(-1),
        "softmax": lambda x: x.softmax(-1),
        "layer_norm": lambda x: F.layer_norm(x, (width,), weight, bias),
        "gelu": lambda x: F.gelu(x),
    }
    call, bytes_each = calls[name], 2 if on.dtype == "bfloat16" else 4
    return Built(quiet(on, call), [(x,)], moved=bytes_each * n * (1.0 if name == "sum" else 2.0))


def quiet(on: On, call: Callable) -> Callable:
    def step(*inputs: Any) -> Any:
        with on.torch.no_grad():
            return call(*inputs)

    return step


def matmul(on: On, n: int) -> Built:
    torch = on.torch
    torch.manual_seed(1)
    a, b = on.put(torch.randn(n, n)), on.put(torch.randn(n, n))
    return Built(quiet(on, lambda a, b: a @ b), [(a, b)], flops=2.0 * n**3)


def attention(on: On, T: int, sequences: int = 4, heads: int = 12) -> Built:
    """Causal attention, forward and backward, heads 64 wide."""
    torch, F = on.torch, on.torch.nn.functional
    torch.manual_seed(1)
    shape = (sequences, heads, T, 64)
    q, k, v = (on.put(torch.randn(shape)) for _ in range(3))
    for x in (q, k, v):
        x.requires_grad = True
    g = on.put(torch.randn(shape))

    def step(g: Any) -> Any:
        for x in (q, k, v):
            x.grad = None
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y.backward(g)
        return q.grad

    products = 3 * 2.0 * 2 * sequences * heads * 64 * T * T / 2
    return Built(step, [(g,)], sequences * T, products)


# ---------------------------------------------------------------- to the GPU and back

TRANSFERS = ("pageable", "pinned", "asynchronous", "download")


def pinned(on: On, x: Any) -> Any:
    """The same numbers in memory that a GPU reads by itself. Ours has no `pin_memory` of its own: a
    tensor over CuPy's."""
    if on.theirs:
        return x.pin_memory()
    array = importlib.import_module("cupyx").empty_pinned(tuple(x.shape), "float32")
    array[...] = x.numpy()
    return on.torch.from_numpy(array)


def transfer(on: On, size: int) -> Built:
    """So many bytes. `pageable` and `pinned` wait for each one, `asynchronous` is pinned, and only
    a window waits; `download` is what `.cpu()` does."""
    here = on.torch.ones(size // 4)
    there, wait = here.to(on.device), on.torch.cuda.synchronize
    source = pinned(on, here) if on.mode in ("pinned", "asynchronous") else here

    def waited() -> Any:
        found = source.to(on.device)
        wait()
        return found

    calls = {
        "pageable": waited,
        "pinned": waited,
        "asynchronous": lambda: source.to(on.device, non_blocking=True),
        "download": lambda: there.to("cpu"),
    }
    return Built(calls[on.mode], [()], moved=float(size))


def reading(on: On, numbers: int) -> Built:
    """A number that lies there already, as `loss.item()` reads it."""
    there = on.torch.ones(numbers).to(on.device)
    return Built(lambda: on.torch.tensor(there.item()), [()])


def model(on: On, batch: int, size: Size) -> Built:
    """The parameters of `batch` models, one after another, as `model.to("cuda")` brings them."""
    parameters = [p.detach() for p in gpt_class(on.torch)(size).parameters()] * batch
    bytes_each = sum(4.0 * p.numel() for p in parameters)
    return Built(lambda: [p.to(on.device) for p in parameters][-1], [()], moved=bytes_each)
