"""The door for scripts written for PyTorch: `torch` and its submodules answered by this project.

    python -m tinygrad_lm.as_torch FILE [ARGS...]        runs a script or a notebook
    python -m tinygrad_lm.as_torch --coverage PATH...    says which torch names they use
    python -m tinygrad_lm.as_torch --conformance         a table of all names of PyTorch
    import tinygrad_lm.as_torch as t; t.install()        in a program or a test
    %load_ext tinygrad_lm.as_torch                       in a notebook

It only registers names: every torch module is one of this package's, the same object, loaded when
it is asked for. And it looks for `create_graph` in the sources, which is answered in
`pages/second_derivatives.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import opcode
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .. import aliases
from ..aliases import PACKAGE, PYTORCH
from . import refused

VERSION = "2.13.0"  # of PyTorch, for scripts that ask; whose numbers and names are ours

# torch.X is tinygrad_lm.X where X begins with one of these; `aliases.py` may say what that is.
TOPS = {"autograd", "nn", "optim", *(name.partition(".")[0] for name in PYTORCH)}
# Those that are loaded with the package: what is missing in them is said from the first line on.
LOADED = (
    "autograd backends backends.cuda backends.cudnn backends.mps compiler cuda cuda.amp amp "
    "distributed nn nn.functional nn.init nn.utils optim optim.lr_scheduler utils "
    "utils.data utils.tensorboard"
).split()
NEED_TORCH = {
    "transformers": "load its weights with load_safetensors into models.gpt",
    "torchvision": "read the data with NumPy",
    "torchaudio": "read the data with NumPy",
    "safetensors.torch": "use load_safetensors and save_safetensors of tinygrad_lm.saving",
}


def real_name(name: str) -> str | None:
    """The module of this package that answers for a torch module, or None."""
    part = name.partition(".")[2]
    if name == "torch":
        return PACKAGE
    if part.partition(".")[0] not in TOPS:
        return None
    real = aliases.real_name(f"{PACKAGE}.{part}")
    try:
        return real if importlib.util.find_spec(real) else None
    except ModuleNotFoundError:  # what is before the last dot is no package
        return None


class Finder(importlib.abc.MetaPathFinder):
    """Finds torch modules, before Python finds a file of this package by its name and loads it a
    second time. Refuses those that are not there, and packages that need the real PyTorch."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if advice := NEED_TORCH.get(top) or NEED_TORCH.get(name):
            raise ModuleNotFoundError(
                f"[as_torch] {name} needs PyTorch itself and does not work through the alias; "
                f"{advice}, or run the script with PyTorch",
                name=name,
            )
        if top != "torch":
            return None
        if real := real_name(name):
            return ModuleSpec(name, Entrance(name, real))
        if refused.module(name):
            return ModuleSpec(name, refused.Shell(), is_package=True)
        raise ModuleNotFoundError(f"No module named {name!r}{close(name, _modules())}", name=name)


class Entrance(aliases.Alias):
    """Gives the module that answers, which from then on says what is close to a missing name."""

    def __init__(self, name: str, real: str):
        super().__init__(real)
        self.name = name

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module).setdefault("__path__", [])  # so that this finder is asked what is below it
        if not hasattr(getattr(module, "__getattr__", None), "hints"):
            module.__getattr__ = _hint(self.name, module)  # type: ignore[method-assign]


def install() -> ModuleType:
    """Register this package as `torch`, with its submodules, for every later import; returns it.
    Its `__version__` is then that of the PyTorch it stands for, with our own behind a +.

    RuntimeError where the real torch was imported before: its classes would mix with these.
    """
    package = importlib.import_module(PACKAGE)
    found = sys.modules.get("torch")
    if found is package:
        return package
    if found is not None:
        raise RuntimeError(
            "[install] it must run before anything imports torch, but "
            f"{getattr(found, '__file__', 'another torch')} is loaded; move it to the first line?"
        )
    own = vars(package)["__version__"]
    sys.modules["torch"] = package
    sys.meta_path.insert(0, Finder())
    package.__getattr__ = _hint("torch", package)  # type: ignore[method-assign]
    for part in LOADED:
        importlib.import_module(f"torch.{part}")
    version = importlib.import_module("torch.version")
    vars(version)["__version__"] = version.TorchVersion(f"{VERSION}+tinygrad_lm.{own}")
    vars(package).update(
        __version__=vars(version)["__version__"],
        # what a notebook shows for `torch` and `install()` as the last line of a cell
        _ipython_display_=lambda: print(f"torch is tinygrad_lm {own}, in place of PyTorch"),
    )
    for name in refused.PATTERNS:
        if name.startswith("torch.Tensor."):
            setattr(vars(package)["Tensor"], name.rpartition(".")[2], refused.Method(name))
    vars(package)["Tensor"].__module__ = "torch"  # as type(x) prints it
    vars(package)["nn"].Parameter.__module__ = "torch.nn.parameter"
    importlib.import_module(f"{PACKAGE}.pages.second_derivatives").watch()
    return package


def load_ipython_extension(shell: object) -> None:
    """`%load_ext tinygrad_lm.as_torch` in a notebook: `install()`."""
    install()


def unload_ipython_extension(shell: object) -> None:
    """Says that this cannot be undone."""
    print("[as_torch] what was imported as torch stays this project; to undo, restart the kernel")


def _hint(name: str, module: ModuleType) -> Any:
    """The `__getattr__` of a torch module: a submodule that is not loaded yet, what the module
    itself loads later, or an error."""
    own = vars(module).get("__getattr__")

    def missing(attribute: str) -> Any:
        full = f"{name}.{attribute}"
        if attribute[:1] != "_" and (real_name(full) or refused.module(full)):
            return importlib.import_module(full)
        if own is not None:
            with contextlib.suppress(AttributeError):
                return own(attribute)
        sentence = refused.why(full)
        more = "" if attribute[:2] == "__" else close(attribute, dir(module))
        more = f"; {sentence}" if sentence else more
        caller = sys._getframe(1)
        if caller.f_code.co_code[caller.f_lasti] == opcode.opmap["IMPORT_FROM"]:
            # Python would turn an AttributeError into an ImportError that has lost the hint
            raise ImportError(f"cannot import name {attribute!r} from {name!r}{more}", name=name)
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}{more}")

    vars(missing)["hints"] = True
    return missing


def _modules() -> list[str]:
    from .names import sections

    return [name for name in sections() if name != "torch" and real_name(name)]


def close(name: str, known: list[str]) -> str:
    """ "; close: A, B" where some of the known names are nearly this one, else nothing."""
    from difflib import get_close_matches

    lower: dict[str, list[str]] = {}
    for other in known:
        if other[:1] != "_":
            lower.setdefault(other.lower(), []).append(other)
    near = get_close_matches(name.lower(), lower, n=3, cutoff=0.7)
    names = [other for key in near for other in lower[key]]
    return f"; close: {', '.join(names)}" if names else ""
