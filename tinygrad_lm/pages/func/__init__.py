"""PyTorch's page `torch.func`: functions of functions. An argument may be a Tensor or a tree of
them, such as the parameters of a model, and its derivative is a tree, too. Everything is walked
back, and recorded for another derivative, so that they can be nested."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ...engine.arrays import changed, filled, leaves
from ...engine.core.graph import Node
from ...engine.core.tensor import Tensor
from ...engine.pytorch.grad_mode import enable_grad, higher_order
from ..autograd import functional
from .batched import vmap
from .modules import functional_call, stack_module_state

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip

Argnums = int | tuple[int, ...]


class _Level:
    """One derivative among others that are nested: its arguments and its way out."""

    def __init__(self, name: str, args: Any):
        self.name = name
        self.own: set[int] = set()  # ids of the leaves that this derivative alone knows
        self.args = changed(args, self._enter)
        self.leaves = list(leaves(self.args))

    def _enter(self, x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            raise ValueError(
                f"[{self.name}] what is differentiated must be a Tensor, got {type(x).__name__}; "
                "choose other arguments with argnums"
            )
        if x.requires_grad:
            return x.view_as(x)
        fresh = x.detach().requires_grad_()
        self.own.add(id(fresh))
        return fresh

    def left(self, tree: Any) -> Any:
        """What is returned, out of the graph unless a leaf from outside is in it."""

        def out(x: Any) -> Any:
            if not isinstance(x, Tensor) or not x.requires_grad:
                return x
            return x if self._comes_from_outside(x) else x.detach()

        return changed(tree, out)

    def _comes_from_outside(self, x: Tensor) -> bool:
        pending: list[Any] = [x.node or x]
        seen: set[int] = set()
        while pending:
            at = pending.pop()
            if not isinstance(at, Node):
                if id(at) not in self.own:
                    return True
            elif id(at) not in seen:
                seen.add(id(at))
                pending += [p for p in at.parents if p is not None]
        return False


def _chosen(name: str, args: tuple, argnums: Argnums) -> tuple[Any, Callable]:
    """(the arguments to differentiate by, the call with others in their place)."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise RuntimeError(
                f"[{name}] argnums must be among the {len(args)} positional arguments, got {n}"
            )

    def with_others(others: Any) -> list:
        placed = list(args)
        for n, x in zip(numbers, (others,) if isinstance(argnums, int) else others):
            placed[n] = x
        return placed

    return args[argnums] if isinstance(argnums, int) else tuple(
        args[n] for n in numbers
    ), with_others


def _apart(out: Any, has_aux: bool) -> tuple:
    return out if has_aux else (out, None)


def grad_and_value(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that returns (gradient, value) of func, which returns one 0-d Tensor; with has_aux
    (gradient, (value, aux)) of one that returns (Tensor, aux)."""

    @wraps(func)
    def derived(*args: Any, **kwargs: Any) -> tuple:
        picked, with_others = _chosen("grad", args, argnums)
        with enable_grad(), higher_order():
            level = _Level("grad", picked)
            out, aux = _apart(func(*with_others(level.args), **kwargs), has_aux)
            if not isinstance(out, Tensor) or out.ndim:
                got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise RuntimeError(
                    f"[grad] the function must return a 0-d Tensor, got {got}; vjp or jacrev?"
                )
            found = functional._slopes(
                "grad", (out,), tuple(level.leaves), tuple(functional._units(out)), True, False
            )
        slope = filled(picked, level.left(found))
        return slope, (level.left(out), level.left(aux)) if has_aux else level.left(out)

    return derived


def grad(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of func, or (gradient, aux)."""
    both = grad_and_value(func, argnums, has_aux)

    @wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        slope, value = both(*args, **kwargs)
        return (slope, value[1]) if has_aux else slope

    return derived


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """(func(*primals), g -> v^T J per primal); with has_aux, aux comes third."""
    with enable_grad(), higher_order():
        level = _Level("vjp", primals)
        out, aux = _apart(func(*level.args), has_aux)

    def back(cotangents: Any, retain_graph: bool = True, create_graph: bool = True) -> Any:
        shapes = [changed(t, lambda x: getattr(x, "shape", None)) for t in (cotangents, out)]
        if shapes[0] != shapes[1]:
            raise RuntimeError(
                f"[vjp] cotangents must be like what the function returned, {shapes[1]}, "
                f"got {shapes[0]}"
            )
        with enable_grad(), higher_order():
            outs, vs = tuple(leaves(out)), tuple(leaves(cotangents))
            found = functional._slopes("vjp", outs, tuple(level.leaves), vs, True, False)
        return filled(primals, level.left(found))

    return (level.left(out), back, level.left(aux)) if has_aux else (level.left(out), back)


def jvp(
    func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False
) -> tuple:
    """(func(*primals), J tangents), tangents like primals; with has_aux, aux comes third."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError("[jvp] primals and tangents must be tuples; put (x,) for one argument")
    found: list = []

    def flat(*xs: Tensor) -> tuple:
        out, aux = _apart(func(*filled(primals, xs)), has_aux)
        found[:] = [out, aux]
        return tuple(leaves(out))

    level = _Level("jvp", (primals, tangents))
    xs, vs = level.args
    _, slopes = functional.jvp(flat, tuple(leaves(xs)), tuple(leaves(vs)), True, strict)
    out, aux = found
    results = level.left(out), level.left(filled(out, slopes))
    return (*results, level.left(aux)) if has_aux else results


def linearize(func: Callable, *primals: Any) -> tuple:
    """(func(*primals), tangents -> J tangents)."""
    return func(*primals), lambda *tangents: jvp(func, primals, tangents)[1]


def jacrev(
    func: Callable,
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:
    """A function that returns d output / d argument, of shape (*output's, *argument's): a tree like
    the output, of trees like the arguments. chunk_size is taken; it is a walk back per element."""

    @wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        picked, with_others = _chosen("jacrev", args, argnums)
        found: list = []

        def flat(*xs: Tensor) -> tuple:
            placed = with_others(filled(picked, xs))
            out, aux = _apart(func(*placed, **kwargs), has_aux)
            found[:] = [out, aux]
            return tuple(leaves(out))

        with higher_order():
            level = _Level("jacrev", picked)
            rows = functional.jacobian(flat, tuple(level.leaves), create_graph=True)
        out, aux = found
        result = filled(out, [filled(picked, level.left(row)) for row in rows])
        return (result, level.left(aux)) if has_aux else result

    return derived


def jacfwd(
    func: Callable, argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable:
    """`jacrev`: there is no forward mode here, and the result is the same."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable, argnums: Argnums = 0) -> Callable:
    """The Jacobian of the Jacobian."""
    return jacrev(jacrev(func, argnums), argnums)
