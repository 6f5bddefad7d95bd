"""Several GPUs told apart. CUDA makes arrays and runs kernels on one GPU, the current one; as in
PyTorch an op runs on the GPU of its tensors, whichever is current, and leaves that as it is.

What works with arrays is entered at a few doors: an op, a method of Tensor or of a generator, a
function of PyTorch's, the walk back, a step of an optimizer. Where a machine has several GPUs, each
of these is replaced by itself with that GPU current; elsewhere nothing is replaced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from types import FunctionType
from typing import Any

from .arrays import ON_CUDA, cupy, device_of, dispatch
from .core import graph
from .core.op import Op
from .core.tensor import Tensor
from .random.generator import Generator
from .random.philox import Philox

# (class, method, its arguments -> the number of the GPU, None: the current one).
DOORS: list[tuple[type, str, Callable[[tuple], int | None]]] = []
# Packages whose functions are doors, with all that other modules have imported of them.
PACKAGES = ["tinygrad_lm.engine.pytorch", "tinygrad_lm.nn"]
# Methods of Tensor that are called for every one of them, or before it has an array.
PLAIN = {"__init__", "__hash__", "__repr__", "__del__", "__getattribute__", "__setattr__"}


def arrays_on_gpus(given: Iterable) -> list:
    """The GPUs' arrays among arguments: their own, those of Tensors, those in lists."""
    found, kind = [], cupy().ndarray
    for x in given:
        if isinstance(x, (tuple, list)):
            found += arrays_on_gpus(x)
        elif type(x := getattr(x, "array", x)) is kind:
            found.append(x)
    return found


def gpu_of(args: Iterable) -> int | None:
    """The number of the GPU that the first of them is on."""
    for x in args:
        if found := arrays_on_gpus([x]):
            return found[0].device.id
    return None


def on_its_gpu(function: Callable, find: Callable[[tuple], int | None] = gpu_of) -> Any:
    """The function, with the GPU that its arguments are on as the current one."""
    cuda = cupy().cuda

    @wraps(function)
    def there(*args: Any, **kwargs: Any) -> Any:
        index = find((*args, *kwargs.values()))
        if index is None or index == cuda.runtime.getDevice():
            return function(*args, **kwargs)
        with cuda.Device(index):
            return function(*args, **kwargs)

    return there


def call(self: Op, *inputs: Any, **settings: Any) -> Tensor:
    """`Op.call` where its arrays are, which must be one GPU."""
    where = dict.fromkeys(str(device_of(x)) for x in arrays_on_gpus((*inputs, *settings.values())))
    if len(where) > 1:
        raise RuntimeError(
            f"[{self.name}] all inputs must be on the same device, got {' and '.join(where)}; "
            "move with .to()"
        )
    return _call(self, *inputs, **settings)


_call, _walk = Op.call, graph.walk  # as they are in Python


class Sum(graph.Sum):
    """A sum that is added up where its first part is. The walk asks for it before it pulls a
    gradient back, so that this, too, happens there."""

    __slots__ = ("device",)

    def add(self, g: Any) -> None:
        runtime, found = cupy().cuda.runtime, arrays_on_gpus([g])
        if found:
            runtime.setDevice(found[0].device.id)
        self.device = runtime.getDevice()  # where a sparse one was made
        super().add(g)

    def total(self) -> Any:
        cupy().cuda.runtime.setDevice(self.device)
        return super().total()


def staying(walk: Callable) -> Callable:
    """A walk back in Python, which leaves the current GPU as it was."""

    @wraps(walk)
    def there(*args: Any, **kwargs: Any) -> Any:
        if not dispatch.Switches.several_gpus:
            return walk(*args, **kwargs)
        runtime = cupy().cuda.runtime
        before = runtime.getDevice()
        try:
            return walk(*args, **kwargs)
        finally:
            runtime.setDevice(before)

    return there


def tell_apart() -> None:
    """Called when CuPy is first loaded."""
    if cupy().cuda.runtime.getDeviceCount() < 2 or dispatch.Switches.several_gpus:
        return
    dispatch.Switches.several_gpus = True  # so that C leaves ops on GPUs to Op.call
    core: Any = Op
    core.call = on_its_gpu(call)
    if graph.walk is _walk:  # and C does not answer op(...)
        core.__call__ = core.call
    whole: Any = graph
    whole.Sum, whole.walk = Sum, staying(_walk)
    for name, method in [*vars(Tensor).items()]:
        plain = isinstance(method, (Op, type, staticmethod, classmethod)) or name in PLAIN
        if callable(method) and not plain:
            setattr(Tensor, name, on_its_gpu(method))
    for name, method in [*vars(Generator).items(), *vars(Philox).items()]:
        if isinstance(method, FunctionType) and not name.startswith("__"):
            setattr(Philox, name, on_its_gpu(getattr(Philox, name), lambda a: a[0].device.index))
    for owner, name, find in DOORS:
        setattr(owner, name, on_its_gpu(getattr(owner, name), find))
    replace_functions()


def replace_functions() -> None:
    """The functions of PACKAGES, wherever they were imported to."""
    names = tuple(name + "." for name in PACKAGES)
    replaced: dict[int, Any] = {}
    ours = __name__.partition(".")[0]
    modules = [m for name, m in sys.modules.items() if f"{name}.".startswith(ours + ".")]
    for module in modules:
        for name, value in [*vars(module).items()]:
            home = getattr(value, "__module__", None)  # of those that take out=, the package
            if type(value) is FunctionType and (home == ours or f"{home}.".startswith(names)):
                if id(value) not in replaced:
                    replaced[id(value)] = on_its_gpu(value)
                setattr(module, name, replaced[id(value)])


ON_CUDA.append(tell_apart)
