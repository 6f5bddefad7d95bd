"""Second names of modules: PyTorch's path, or the one a module had in version 0.1.0. Importing
`tinygrad_lm.viz` gives the module `tinygrad_lm.look.viz` itself, loaded once, when it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = __name__.rpartition(".")[0]
# `torch.X` and `tinygrad_lm.X` -> where X is. PyTorch's other modules here have PyTorch's path.
PYTORCH = {
    "accelerator": "pages.accelerator",
    "amp": "pages.amp",
    "autograd.profiler": "pages.profiler",
    "autograd.variable": "engine.pytorch.legacy",
    "autograd.function": "engine.pytorch.custom_function",
    "autograd.functional": "pages.autograd.functional",
    "autograd.graph": "pages.autograd.graph",
    "backends": "pages.backends",
    "compiler": "pages.compiler",
    "cpu": "pages.cpu",
    "cuda": "pages.cuda",
    "cuda.amp.autocast_mode": "pages.cuda.amp",
    "cuda.amp.grad_scaler": "pages.cuda.amp",
    "distributed": "pages.distributed",
    "distributed.optim": "optim.zero",
    "functional": "pages.functional",
    "multiprocessing": "pages.multiprocessing",
    "nn.modules": "nn",
    "nn.utils.stateless": "pages.func.modules",
    "nn.modules.flatten": "nn.layers",
    "nn.modules.module": "nn.module",
    "optim.adamw": "optim.adam",
    "profiler": "pages.profiler",
    "random": "pages.random",
    "serialization": "saving.torch_save",
    "testing": "pages.testing",
    "types": "pages.types",
    "distributions": "pages.distributions",
    "distributions.bernoulli": "pages.distributions.discrete",
    "distributions.categorical": "pages.distributions.discrete",
    "distributions.independent": "pages.distributions.transforms",
    "distributions.normal": "pages.distributions.continuous",
    "distributions.transformed_distribution": "pages.distributions.transforms",
    "distributions.utils": "pages.distributions.distribution",
    "special": "engine.pytorch.special",
    "func": "pages.func",
    "torch_version": "pages.version",
    "linalg": "engine.pytorch.linalg",
    "utils": "pages.utils",
    "utils.checkpoint": "engine.pytorch.checkpointing",
    "utils.data": "data",
    "utils.data.dataloader": "data.loader",
    "utils.data.dataset": "data.datasets",
    "utils.data.sampler": "data.samplers",
    "utils.data.distributed": "data.samplers",
    "version": "pages.version",
}
# The files of PyTorch's layers are other ones here; what they hold is in nn.
PYTORCH |= {
    f"nn.modules.{name}": "nn"
    for name in "activation batchnorm container conv dropout linear loss normalization pooling rnn "
    "sparse transformer".split()
}
MOVED = {
    "files": "saving.files",
    "generation": "text.generation",
    "optim.lr_scheduler.closed_forms": "optim.lr_scheduler.rules",
    "study": "look.study",
    "tokenizers": "text.tokenizers",
    "viz": "look.viz",
    # Named in pickles, as the modules of the objects in them.
    "engine.backend": "engine.arrays",
    "engine.dtypes": "engine.arrays.dtypes",
    "engine.interop": "engine.pytorch.protocols",
    "engine.tensor": "engine.pytorch.tensor_extras",
}
# Functions of `torch` itself, on pages that are loaded when somebody asks for them.
ON_PAGES = {"vmap": "func"}
# Functions of `torch` itself that are methods: torch.relu_(x) is x.relu_().
ALSO_FUNCTIONS = """
abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_
atan_ atanh_ ceil_ clamp_ clip_ cos_ cosh_ deg2rad_ detach detach_ erf_ erfc_ exp2_ exp_ expm1_
fill_ fix_ floor_ frac_ gcd_ index_put_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_
negative_ rad2deg_ reciprocal_ relu_ resize_as_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_
square_ tan_ tanh_ trunc_ xlogy_ zero_
"""
PLACES = {f"{PACKAGE}.{name}": f"{PACKAGE}.{place}" for name, place in (PYTORCH | MOVED).items()}


def later(name: str, above: str = "") -> Any:
    """The `__getattr__` of the package, or of what is `above` with a dot: a page, or a function on
    one, that is loaded on first use."""
    if above + name in PYTORCH:
        return importlib.import_module(f"{PACKAGE}.{above}{name}")
    if not above and name in ON_PAGES:
        return getattr(importlib.import_module(f"{PACKAGE}.{ON_PAGES[name]}"), name)
    if not above and name in ALSO_FUNCTIONS.split():
        return getattr(importlib.import_module(PACKAGE).Tensor, name)
    raise AttributeError(f"module {PACKAGE!r} has no attribute {above + name!r}")


def real_name(name: str) -> str:
    """The one name under which the module `name` is loaded; what is below an alias moves along."""
    above, _, last = name.rpartition(".")
    if name in PLACES or not above:
        return PLACES.get(name, name)
    return f"{real_name(above)}.{last}"


class Finder(MetaPathFinder):
    """Answers for second names, before Python finds the file and loads it again under that name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{PACKAGE}.") or (real := real_name(name)) == name:
            return None
        spec = importlib.util.find_spec(real)
        return None if spec is None else ModuleSpec(name, Alias(real), origin=spec.origin)


class Alias(Loader):
    """Gives the module that goes by the name `real`, which keeps its own `__spec__`."""

    def __init__(self, real: str):
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.real)
        self.spec = module.__spec__  # the import system is about to replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec

    def get_code(self, fullname: str) -> None:
        raise ImportError(f"[python -m] {fullname} must go by its first name; try {self.real}")


def install() -> None:
    """From now on, imports find modules by their second names."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
