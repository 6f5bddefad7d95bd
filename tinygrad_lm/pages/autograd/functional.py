"""PyTorch's page `torch.autograd.functional`: derivatives of a function at a point. One walk back
gives v^T J. J v comes of a second walk, back through the first, which is linear in v. A Jacobian
takes a walk for each element of the output. `func.py` has the newer forms of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ...engine.arrays import library
from ...engine.core.tensor import Tensor, wrap
from ...engine.pytorch.grad import grad
from ...engine.pytorch.grad_mode import enable_grad, higher_order
from ...engine.pytorch.joining import stack

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Any  # a Tensor, or a tuple of them


def vjp(
    func: Callable, inputs: Tensors, v: Tensors = None, create_graph=False, strict=False
) -> tuple[Tensors, Tensors]:
    """(func(*inputs), v^T J), v like what func returns; it may be left out for one element. strict:
    an output that does not depend on every input is an error."""
    with _recording(create_graph):
        xs, given, outs = _evaluated("vjp", func, inputs, create_graph)
        v = _vector("vjp", v, outs, "func returns")
        found = _slopes("vjp", outs, xs, v, create_graph, strict)
    return _shaped(outs, given, create_graph), _shaped(found, inputs, create_graph)


def jvp(
    func: Callable, inputs: Tensors, v: Tensors = None, create_graph=False, strict=False
) -> tuple[Tensors, Tensors]:
    """(func(*inputs), J v), v like inputs; it may be left out for one element."""
    with _recording(True):
        xs, given, outs = _evaluated("jvp", func, inputs, create_graph)
        v = _vector("jvp", v, xs, "func is given")
        any_v = tuple(_zeros(x).requires_grad_() for x in outs)
        slopes = _slopes("jvp", outs, xs, any_v, True, strict)
        found = _slopes("jvp", slopes, any_v, v, create_graph, False)
    return _shaped(outs, given, create_graph), _shaped(found, given, create_graph)


def jacobian(
    func: Callable,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """d output / d input, of shape (*output's, *input's); a tuple per output of a tuple per input
    where there are several. vectorize and strategy are taken; it is walked back all the same."""
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            f"[jacobian] strategy must be reverse- or forward-mode, got {strategy}"
        )
    with _recording(create_graph):
        xs, given, outs = _evaluated("jacobian", func, inputs, create_graph)
        found = []
        for out in outs:
            rows = [
                _slopes("jacobian", (out,), xs, (v,), create_graph, strict) for v in _units(out)
            ]
            per_input = [
                stack(slopes).reshape(*out.shape, *x.shape) if rows else _zeros(out, x)
                for x, slopes in zip(xs, zip(*rows) if rows else xs)
            ]
            found.append(_shaped(per_input, inputs, create_graph))
    return found[0] if isinstance(given, Tensor) else tuple(found)


def hessian(
    func: Callable,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a func that returns one element, of shape (*input's, *input's); a
    tuple of tuples where there are several inputs."""

    def slope(*xs: Tensor) -> Tensors:
        given = xs[0] if isinstance(inputs, Tensor) else xs
        return jacobian(_of_one_element("hessian", func), given, True, strict)

    with _recording(True):
        return jacobian(slope, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(
    func: Callable, inputs: Tensors, v: Tensors = None, create_graph=False, strict=False
) -> tuple[Tensor, Tensors]:
    """(func(*inputs), v^T H) for a func that returns one element; v is like inputs."""
    with _recording(True):
        xs, given, outs = _evaluated("vhp", _of_one_element("vhp", func), inputs, create_graph)
        v = _vector("vhp", v, xs, "func is given")
        slopes = _slopes("vhp", outs, xs, tuple(next(_units(x)) for x in outs), True, strict)
        found = _slopes("vhp", slopes, xs, v, create_graph, strict)
    return _shaped(outs, given, create_graph), _shaped(found, inputs, create_graph)


def hvp(
    func: Callable, inputs: Tensors, v: Tensors = None, create_graph=False, strict=False
) -> tuple[Tensor, Tensors]:
    """(func(*inputs), H v), which is v^T H, because H is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)


# ---------------------------------------------------------------- what they share


@contextlib.contextmanager
def _recording(twice: bool) -> Iterator[None]:
    with enable_grad(), higher_order() if twice else contextlib.nullcontext():
        yield


def _evaluated(name: str, func: Callable, inputs: Tensors, create_graph: bool) -> tuple:
    """(inputs that require a gradient, what func returns for them, the same as a tuple)."""
    xs = tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in _listed(name, "inputs", inputs)
    )
    out = func(*xs)
    return xs, out, _listed(name, "what func returns", out)


def _listed(name: str, what: str, found: Tensors) -> tuple[Tensor, ...]:
    several = found if isinstance(found, tuple) else (found,)
    for x in several:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"[{name}] {what} must be a Tensor or a tuple of them, got {type(x).__name__}"
            )
    return several


def _of_one_element(name: str, func: Callable) -> Callable:
    def checked(*xs: Tensor) -> Tensor:
        out = func(*xs)
        if isinstance(out, tuple) or (isinstance(out, Tensor) and out.numel() != 1):
            what = "a tuple" if isinstance(out, tuple) else f"one of shape {tuple(out.shape)}"
            raise RuntimeError(f"[{name}] func must return a Tensor of one element, got {what}")
        return out.reshape(()) if out.ndim else out

    return checked


def _vector(name: str, v: Tensors, likes: tuple, where: str) -> tuple:
    if v is None:
        if len(likes) > 1 or likes[0].numel() != 1:
            raise RuntimeError(
                f"[{name}] v must be given unless {where} one Tensor of one element, got shapes "
                f"{[tuple(x.shape) for x in likes]}"
            )
        return (next(_units(likes[0])),)
    vs = _listed(name, "v", v)
    if [x.shape for x in vs] != [x.shape for x in likes]:
        raise RuntimeError(
            f"[{name}] v must have the shapes of what {where}, {[tuple(x.shape) for x in likes]}, "
            f"got {[tuple(x.shape) for x in vs]}"
        )
    return vs


def _slopes(
    name: str, outs: tuple, xs: tuple, vs: tuple, create_graph: bool, strict: bool
) -> tuple[Tensor, ...]:
    """v^T J per input; zeros where nothing depends on it."""
    used = [(out, v) for out, v in zip(outs, vs) if out.requires_grad]
    found: tuple = (None,) * len(xs)
    if used:
        reached, upstream = zip(*used)
        found = grad(reached, xs, upstream, True, create_graph, allow_unused=True)
    if strict and (len(used) < len(outs) or any(g is None for g in found)):
        raise RuntimeError(
            f"[{name}] every output, and its slope, must depend on every input with strict=True, "
            "one does not; leave strict out for zeros"
        )
    return tuple(_zeros(x) if g is None else g for x, g in zip(xs, found))


def _zeros(*xs: Tensor) -> Tensor:
    """Of the shapes one after the other, in the dtype of the last."""
    like = xs[-1].array
    return wrap(library(like).zeros([n for x in xs for n in x.shape], like.dtype))


def _units(x: Tensor) -> Iterator[Tensor]:
    """Like x, with a 1 at each place in turn."""
    for i in range(x.numel()):
        unit = _zeros(x)
        unit.array.reshape(-1)[i] = 1
        yield unit


def _shaped(found: Any, like: Tensors, create_graph: bool) -> Tensors:
    """A tuple where there was one, out of the graph unless it is to be differentiated."""
    kept = tuple(x if create_graph else x.detach() for x in found)
    return kept[0] if isinstance(like, Tensor) else kept
