"""How an op is declared, called and recorded.

An op is a plain function of arrays that returns its value and its pullbacks. `@primitive` enters it
in the table OPS that the tests walk; `@fused` enters a composition of other ops; `@kernel` adds a
faster way to an op for one array type. This file knows no particular op.

`recorder.c` does the usual case of `Op.__call__` where it was compiled; to follow or change the one
here, run with TINYGRAD_LM_COMPILED=0 in the environment.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy

from . import backend
from .autograd import Node, storage
from .backend import LIBRARIES, as_array, device_of, dtype_of, result_type
from .compiled import OpFields, recorder
from .modes import mode
from .tensor import Tensor, wrap

OPS: dict[str, Op] = {}
_switches = {"kernels": True}


class reference_only:
    """Inside, no kernel is used: every op runs as it is defined."""

    def __enter__(self) -> None:
        self.before, _switches["kernels"] = _switches["kernels"], False

    def __exit__(self, *exc: Any) -> None:
        _switches["kernels"] = self.before


class Op(OpFields):
    """A callable over Tensors, arrays and numbers: arrays by position, the rest by keyword."""

    def __init__(self, function: Callable, cast: str | None, view: bool, fused: bool):
        self.name = function.__name__.strip("_")
        self.function, self.cast, self.view, self.fused = function, cast, view, fused
        self.kernels: dict[type, list[Callable]] = {}  # tried in turn
        self.arity = sum(
            p.kind is p.POSITIONAL_OR_KEYWORD for p in signature(function).parameters.values()
        )
        self.__doc__, self.__name__ = function.__doc__, self.name
        self.__module__, self.__wrapped__ = function.__module__, function

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> tuple:  # for copies: a model may hold an op
        return (
            Op,
            (self.function, self.cast, self.view, self.fused),
            (None, {"kernels": self.kernels}),
        )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *inputs: Any, **settings: Any) -> Tensor:
        if settings and (not inputs or "other" in settings):  # by PyTorch's names
            inputs += tuple([settings.pop(n) for n in ("input", "other") if n in settings])
        now = mode.__dict__  # this thread's switches, looked up once
        if now["autocast"] is not None:
            inputs = now["autocast"](self.name, inputs)
        recording, twice = now["recording"], now["differentiable_pullbacks"]
        ways: Any = ()
        if self.kernels and _switches["kernels"] and not twice:
            ways = self.kernels.get(type(_first_array(inputs)), ())
        if not self.fused:
            ways = (*ways, self.function)
        elif not ways:
            return self.compose(*inputs, **settings)
        else:
            inputs += (None,) * (self.arity - len(inputs))
        arrays: list[Any] = []
        parents: list[Any] = []
        wanted, kind = 0, None  # parents with a gradient; the one dtype, or False once two differ
        for x in inputs:
            parent = None
            if isinstance(x, Tensor):
                if x.base is not None and x.seen != x.base.version:
                    x.refresh()
                if recording and x.needs_grad:
                    parent = x.node or x
                    wanted += 1
                x = x.array
                if kind is not x.dtype:
                    kind = x.dtype if kind is None else False
            elif not (x is None or type(x) is float or type(x) is int):
                x = _plain(self.name, x)
                if type(x) in LIBRARIES and kind is not x.dtype:
                    kind = x.dtype if kind is None else False
            arrays.append(x)
            parents.append(parent)
        if self.cast is not None and not (kind and kind.kind == "f"):
            self._cast(arrays)  # else a Python number takes part in the arrays' own type
        if wanted and twice:
            return self._record_twice(inputs, settings, parents)
        found: Any = NotImplemented
        try:
            for function in ways:
                try:
                    found = now["quiet"].run(function, *arrays, **settings)
                except RuntimeError as error:
                    if "cannot enter context" not in str(error):  # which means: it is quiet already
                        raise
                    found = function(*arrays, **settings)
                if found is not NotImplemented:
                    break
        except (ValueError, TypeError, IndexError) as error:
            self.fail(error, *inputs)
        if found is NotImplemented:  # for each kernel these inputs are too unusual
            return self.compose(*inputs, **settings)
        if type(found) is not tuple or len(found) != 2:
            raise TypeError(f"[{self.name}] must return (value, pullbacks), got {found!r:.60}")
        out, pullbacks = found
        out = out if type(out) in LIBRARIES else as_array(out)
        result = wrap(out)
        if wanted and pullbacks is not None:
            if type(pullbacks) is tuple and not wanted == len(pullbacks) == len(parents):
                pullbacks = self.keep_wanted(pullbacks, parents)
            result.node = Node(self.name, out, tuple(parents), pullbacks)
            result.needs_grad = True
        if self.view and out.base is not None and isinstance(inputs[0], Tensor):
            _look_into(result, inputs[0])
        return result

    def compose(self, *inputs: Any, **settings: Any) -> Tensor:
        """A fused op by its composition."""
        return self.function(*[_as_input(self.name, x) for x in inputs], **settings)

    def keep_wanted(self, pullbacks: Any, parents: list) -> Any:
        """Only the pullbacks of inputs that want a gradient: the others may keep nothing alive."""
        if type(pullbacks) is not tuple:
            return pullbacks
        if len(pullbacks) != len(parents):
            counts = f"{len(pullbacks)} for {len(parents)}"
            raise TypeError(f"[{self.name}] each input must have a pullback or None, got {counts}")
        return tuple([None if p is None else f for p, f in zip(parents, pullbacks)])

    def _cast(self, arrays: list) -> None:
        """Promote the inputs as PyTorch does. The walk casts gradients back by itself."""
        kinds = {x.dtype for x in arrays if type(x) in LIBRARIES}
        numbers = any(type(x) in (bool, int, float) for x in arrays)
        if len(kinds) == 1:
            letter = next(iter(kinds)).kind
            if letter == "f" or not (numbers or self.cast == "float"):
                return  # a Python number takes part in the arrays' own type
        if any(x is None for x in arrays):
            raise TypeError(f"[{self.name}] inputs must be Tensors, arrays or numbers, got None")
        target = result_type(*arrays)
        if self.cast == "float" and not target.is_floating_point:
            target = backend.get_default_dtype()
        target = target.np
        for i, x in enumerate(arrays):
            if type(x) in LIBRARIES and x.dtype != target:
                arrays[i] = x.astype(target)
            elif type(x) in (bool, int, float):
                arrays[i] = numpy.asarray(x).astype(target)[()]

    def _record_twice(self, inputs: tuple, settings: dict, parents: list) -> Tensor:
        """Run the op's own function on Tensors, so that its pullbacks are recorded ops too."""
        mode.differentiable_pullbacks = False
        try:
            value, pullbacks = self.function(*inputs, **settings)
        except (AttributeError, TypeError, KeyError, NotImplementedError) as error:
            raise NotImplementedError(
                f"[{self.name}] has no second derivative; leave `higher_order` for this part"
            ) from error
        finally:
            mode.differentiable_pullbacks = True
        result = wrap(value.array)
        if pullbacks is None:
            return result
        pullbacks = self.keep_wanted(pullbacks, parents)
        result.node = Node(self.name, value.array, tuple(parents), pullbacks, tensors=True)
        result.needs_grad = True
        return result

    def fail(self, error: Exception, *inputs: Any) -> None:
        if not isinstance(error, (ValueError, TypeError, IndexError)):
            raise error
        raise self._explain(error, inputs) from error

    def _explain(self, error: Exception, inputs: tuple) -> Exception:
        arrays = [x.array if isinstance(x, Tensor) else x for x in inputs]
        arrays = [x for x in arrays if type(x) in LIBRARIES]
        if len({type(x) for x in arrays}) > 1:
            where = " and ".join(dict.fromkeys(str(device_of(x)) for x in arrays))
            return RuntimeError(
                f"[{self.name}] all inputs must be on the same device, got {where}; move with .to()"
            )
        if str(error).startswith("["):
            return error
        if isinstance(error, TypeError):
            found = [getattr(x, "dtype", type(x).__name__) for x in inputs]
            kind = RuntimeError if arrays and all(x.dtype == bool for x in arrays) else TypeError
            return kind(
                f"[{self.name}] inputs must have types it is defined for, "
                f"got {' and '.join(map(str, found))}: {error}"
            )
        shapes = " and ".join(str(tuple(x.shape)) for x in arrays)
        if isinstance(error, IndexError):
            return IndexError(f"[{self.name}] positions must exist, got {shapes}: {error}")
        return RuntimeError(f"[{self.name}] shapes must fit together, got {shapes}: {error}")


def _look_into(result: Tensor, x: Tensor) -> None:
    """A view remembers what it looks into, if it does."""
    if result.array.base is x.array or storage(result.array) is storage(x.array):
        result.base = x if x.base is None else x.base
        result.seen = result.base.version


def _first_array(inputs: tuple) -> Any:
    for x in inputs:
        if isinstance(x, Tensor):
            return x.array
    return None


def _as_input(name: str, x: Any) -> Any:
    """What a composition works on: a Tensor, a number, or None."""
    if x is None or isinstance(x, (Tensor, float, int)):
        return x
    x = _plain(name, x)
    return wrap(x) if type(x) in LIBRARIES else x


def _plain(name: str, x: Any) -> Any:
    """An input that is neither a Tensor nor a Python number, as one of those or an array."""
    if isinstance(x, (bool, numpy.generic)):
        return x if isinstance(x, bool) else x.item()
    if type(x) in LIBRARIES:
        dtype_of(x)
        return x
    if isinstance(x, numpy.ndarray):
        return numpy.asarray(x)
    raise TypeError(
        f"[{name}] inputs must be Tensors, arrays or numbers, got {type(x).__name__}; "
        "make a Tensor of it with tensor(...)"
    )


def primitive(
    function: Callable | None = None, *, cast: str | None = None, view: bool = False
) -> Any:
    """Declare an op: a function of arrays that returns (value, pullbacks).

    `pullbacks` is a tuple with one function g -> dx per array input (None where there is no
    gradient), or one function g -> (dx, dy, ...) for all. dx may have the broadcast shape of g;
    the walk sums it. Metadata comes by keyword. `cast="same"` promotes mixed dtypes as PyTorch
    does, `cast="float"` also lifts integers to the default float, `view=True` says that the value
    may share memory with the first input.

        @primitive
        def cube(x):
            return x**3, (lambda g: g * 3 * x**2,)

        cube(tensor([2.0], requires_grad=True))      # a Tensor; check it with gradcheck(cube, [x])
    """

    def declare(f: Callable) -> Op:
        return _enter(Op(f, cast, view, fused=False))

    return declare if function is None else declare(function)


def fused(function: Callable) -> Op:
    """Declare an op as a composition of other ops. The composition is its definition; kernels may
    do the same thing faster."""
    return _enter(Op(function, None, False, fused=True))


def kernel(op: Op, array_type: type) -> Callable:
    """Register a faster way to an op for one array type.

    It gets the same inputs as arrays, None for those that a fused op was not given, and returns
    (value, pullbacks) like a primitive, or NotImplemented to leave the work to the kernel that was
    registered before it, at last to the op's own function.
    """

    def register(f: Callable) -> Callable:
        op.kernels.setdefault(array_type, []).insert(0, f)
        return f

    return register


def _enter(op: Op) -> Op:
    if (op.__module__ or "").startswith(__name__.rpartition(".")[0] + ".ops"):
        if op.name in OPS:
            raise RuntimeError(f"[registry] an op's name must be new, {op.name!r} is taken")
        OPS[op.name] = op
    return op


if recorder is not None:  # the same in C, which leaves what is unusual to this one as `record`
    recorder.know(mode=mode, switches=_switches, look_into=_look_into, as_array=as_array)
    recorder.know(ndarray=numpy.ndarray, floating=tuple(map(numpy.dtype, "fde")))
    Op.record = Op.__call__
    del Op.__call__, Op.__get__
