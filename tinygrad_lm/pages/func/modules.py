"""Modules as functions of their parameters: `functional_call`, which PyTorch also has on its page
`torch.nn.utils.stateless`, and the parameters of several models stacked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...engine.core.tensor import Tensor
from ...engine.pytorch.joining import stack

__all__ = ["functional_call", "stack_module_state"]


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with these tensors in the place of its own of the same names; args
    that are no tuple are the only argument. A tensor that the module has twice is replaced twice.
    strict: all names must be given, and no others."""
    given: dict[str, Tensor] = {}
    dicts = parameter_and_buffer_dicts
    for one in [dicts] if isinstance(dicts, Mapping) else dicts:
        if both := sorted(given.keys() & one.keys()):
            raise ValueError(f"[functional_call] a name must come once, got twice: {both}")
        given.update(one)
    named = [module.named_parameters, module.named_buffers]
    own = {k: x for kind in named for k, x in kind(remove_duplicate=False)}
    missing, unexpected = sorted(own.keys() - given), sorted(given.keys() - own)
    if tie_weights:
        twins = {id(own[name]): x for name, x in given.items() if name in own}
        given.update({k: twins[id(own[k])] for k in missing if id(own[k]) in twins})
        missing = sorted(own.keys() - given)
    if strict and (missing or unexpected):
        raise RuntimeError(
            f"[functional_call] names must be those of {type(module).__name__} with strict=True, "
            f"unexpected {unexpected}, missing {missing}"
        )
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, {name: x for name, x in given.items() if name in own}):
        return module(*args, **(kwargs or {}))


@contextlib.contextmanager
def _replaced(module: Any, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    before = []
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"[functional_call] {name} must be a Tensor, got {type(x).__name__}")
        path, _, last = name.rpartition(".")
        owner = module.get_submodule(path)
        kind = "_parameters" if last in owner._parameters else "_buffers"
        before.append((owner, kind, last, vars(owner)[last]))
        _put(owner, kind, last, x)
    try:
        yield
    finally:
        for place in before:
            _put(*place)


def _put(owner: Any, kind: str, name: str, x: Tensor) -> None:
    """A tree keeps what is registered twice: see `nn/tree.py`."""
    vars(owner)[kind][name] = vars(owner)[name] = x


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of models of one class, those of a name stacked along a new first axis:
    with `vmap` and `functional_call` all models run on their slices."""
    models = list(models)
    if not models:
        raise RuntimeError("[stack_module_state] needs at least one model, got none")
    if len({type(m) for m in models}) > 1 or len({m.training for m in models}) > 1:
        raise RuntimeError(
            "[stack_module_state] models must be of one class and all in train or all in eval, "
            f"got {sorted({f'{type(m).__name__} {m.training}' for m in models})}"
        )

    def stacked(kinds: list[dict]) -> dict[str, Tensor]:
        return {
            name: stack([kind[name] for kind in kinds]).detach().requires_grad_(x.requires_grad)
            for name, x in kinds[0].items()
        }

    return (
        stacked([dict(m.named_parameters()) for m in models]),
        stacked([dict(m.named_buffers()) for m in models]),
    )
