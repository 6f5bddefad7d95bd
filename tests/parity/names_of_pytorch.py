"""Writes the list of PyTorch's names that the door of scripts reads: `python
tests/parity/names_of_pytorch.py > tinygrad_lm/as_torch/names.txt`. Nothing but names and keywords,
asked of the PyTorch that is installed; a test beside this one keeps the file true."""

import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
import warnings
from enum import EnumMeta

MODULES = """
torch torch.accelerator torch.amp torch.ao.quantization torch.autograd torch.autograd.forward_ad
torch.autograd.functional torch.autograd.graph torch.autograd.profiler torch.backends
torch.backends.cuda torch.backends.cudnn torch.backends.mps torch.compiler torch.cpu torch.cuda
torch.cuda.amp torch.distributed torch.distributed.fsdp torch.distributions
torch.distributions.constraints torch.distributions.kl torch.distributions.transforms torch.export
torch.fft torch.func torch.functional torch.fx torch.hub torch.jit torch.library torch.linalg
torch.masked torch.mps torch.multiprocessing torch.nested torch.nn torch.nn.attention
torch.nn.functional torch.nn.init torch.nn.parallel torch.nn.parameter torch.nn.utils
torch.nn.utils.parametrizations torch.nn.utils.parametrize torch.nn.utils.prune torch.nn.utils.rnn
torch.nn.utils.stateless torch.onnx torch.optim torch.optim.lr_scheduler torch.optim.swa_utils
torch.overrides torch.package torch.profiler torch.quantization torch.random torch.signal.windows
torch.sparse torch.special torch.testing torch.torch_version torch.utils torch.utils.benchmark
torch.utils.checkpoint torch.utils.cpp_extension torch.utils.data torch.utils.data.dataloader
torch.utils.data.dataset torch.utils.data.distributed torch.utils.data.sampler torch.utils.dlpack
torch.version torch.xpu
""".split()
CLASSES = """
torch.Generator torch.Tensor torch.autograd.Function torch.distributions.Distribution
torch.nn.Module torch.optim.Optimizer
""".split()
# What PyTorch loads on demand, leaves out of `__all__` or has no text for, and scripts do use.
ALSO = {
    "torch": "BFloat16Tensor HalfTensor Event Generator OutOfMemoryError Size Stream Tensor "
    "autocast broadcast_shapes channels_last channels_last_3d clamp_max clamp_min "
    "contiguous_format device dtype "
    "export finfo from_dlpack get_autocast_dtype iinfo is_autocast_enabled layout memory_format "
    "preserve_format scalar_tensor set_autocast_enabled set_default_dtype set_grad_enabled strided",
    "torch.Tensor": "clamp_max clamp_max_ clamp_min clamp_min_ data dtype grad_fn layout name new "
    "output_nr tensor_split",
    "torch.cuda": "OutOfMemoryError Event Stream",
    "torch.fft": "hfft2 hfftn ihfft2 ihfftn",
    "torch.multiprocessing": "spawn start_processes",
}
INTERNAL = re.compile(
    r"(?:cudnn|miopen|mkldnn|fbgemm|q|init|sym|unify|parse|import_ir)_\w+|\w*torch_function\w*"
    r"|assert_int_or_pair|\w*(?:_copy|[a-z]_inverse_)|AVG|SUM|fork|wait|merge_type_\w+"
    r"|has_[ml]\w+|\w+_with_indices"
)
# What a function of Python's takes beside what the compiled one below it does.
BOUND = {"as_tuple", "memory_format", "out", "pin_memory", "requires_grad"}
# In the text about a function, and not taken by name.
WRONG = {
    "copy_": "src",
    "expand": "implicit",
    "from_numpy": "ndarray",
    "set_num_interop_threads": "int",
    "set_num_threads": "int",
    "set_state": "new_state",
    "std_mean": "out",
    "var_mean": "out",
}


@functools.cache
def get(dotted):
    """The module or class of this name."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        above, _, last = dotted.rpartition(".")
        return getattr(get(above), last)


def documented(name):
    """Whether PyTorch has a text about a function of this name, in whichever place."""
    places = "torch", "torch.Tensor", "torch.nn.functional"
    return any(getattr(getattr(get(place), name, None), "__doc__", "") for place in places)


def is_public(where, owner, name):
    """Whether PyTorch means the name for its users: it lists it, or it made and documented it."""
    value = getattr(owner, name)
    if name in ALSO.get(where, "").split():
        return True
    if inspect.ismodule(value) or INTERNAL.fullmatch(name):
        return False
    if inspect.isclass(owner):
        return bool(inspect.getdoc(value)) or where == "torch.Tensor" and documented(name)
    made = str(getattr(value, "__module__", ""))
    listed = getattr(owner, "__all__", None)
    if listed is not None and name not in listed:
        return where == "torch" and name in get("torch.functional").__all__
    if listed is None and not (inspect.isbuiltin(value) or made.startswith(where)):
        return False
    if inspect.isclass(value):
        from_c = where == "torch" and hasattr(owner._C, name)
        return made.startswith("torch") and not from_c or type(value).__name__ == "tensortype"
    if not callable(value):
        return not type(value).__module__.startswith("torch._C")
    return bool(value.__doc__) or where == "torch" and documented(name)


def in_parentheses(text):
    """The names in `a, b=(1, 2), *, c: int = 3) -> ...`, up to the parenthesis that closes it."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0:
            break
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [found[1] for part in parts if (found := re.match(r"\s*(\w+)\s*(?:[=:]|$)", part))]


def keywords(where, name, value, overrides):
    """The names of all arguments: of the signature, or of what PyTorch documents, or tests."""
    if isinstance(value, EnumMeta) or not inspect.isroutine(value) and not inspect.isclass(value):
        return []
    head = rf"^\s*(?:\.\. \w+:: )?(?:[\w.]+\.)?{re.escape(name)}\("
    text = str(value.__doc__ or "")
    starts = [m for m in re.finditer(head, text, re.M) if m.start() < 600 or "function::" in m[0]]
    found = signature(value)
    if found is None:
        found = [k for match in starts for k in in_parentheses(text[match.end() :])]
        forms = schemas(f"linalg_{name}" if where == "torch.linalg" else name)
        taken = {k for form in forms for k in form} | BOUND
        if forms and not taken.issuperset(found or ["nothing"]):  # a text that errs
            found = [k for k in found if k in taken] + forms[0]
    found = found or signature(overrides.get(value)) or []
    left_out = {"self", "cls", "args", "kwargs", "input", WRONG.get(name)}
    return [k for k in dict.fromkeys(found) if k not in left_out and not k.startswith("_")]


def schemas(name):
    """The names that PyTorch's compiled functions of this name take, in each of their forms."""
    forms = importlib.import_module("torch")._C._jit_get_schemas_for_operator(f"aten::{name}")
    return [
        [argument.name for argument in form.arguments if not argument.is_out]
        for form in forms
        if any("Tensor" in str(argument.type) for argument in [*form.arguments, *form.returns])
    ]


def signature(value):
    """The names that Python knows, or None."""
    try:
        kinds = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    return [k.name for k in kinds if k.kind in (k.POSITIONAL_OR_KEYWORD, k.KEYWORD_ONLY)]


def is_own(value):
    """Whether something is PyTorch's, not Python's, which changes with the version of Python."""
    made = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
    return str(made or type(value).__module__).startswith("torch") or inspect.isbuiltin(value)


def section(where, overrides):
    """A module's or class's lines: public names with keywords; names without; the rest of it."""
    owner = get(where)
    names = sorted(name for name in {*dir(owner), *ALSO.get(where, "").split()} if name[0] != "_")
    public = [name for name in names if is_public(where, owner, name)]
    bare, lines = [], []
    for name in public:
        taken = keywords(where, name, getattr(owner, name), overrides)
        if taken:
            lines.append(f"{name}({' '.join(taken)})")
        else:
            bare.append(name)
    fill = textwrap.TextWrapper(width=100, break_long_words=False, break_on_hyphens=False).wrap
    below = {found.name for found in pkgutil.iter_modules(getattr(owner, "__path__", ()))}
    rest = {name for name in names if name not in public and is_own(getattr(owner, name))}
    hidden = sorted(name for name in rest | below - {*public} if name[0] != "_")
    other = [f"- {line}" for line in fill(" ".join(hidden))]
    return [f"[{where}]", *fill(" ".join(bare)), *lines, *other]


def names_file():
    """The whole text."""
    import torch

    warnings.simplefilter("ignore")
    overrides = torch.overrides.get_testing_overrides()
    lines = [f"# The names of PyTorch {torch.__version__.partition('+')[0]} and their keywords."]
    lines.append("# After -: names that exist and are not meant for users. Written by")
    lines.append("# tests/parity/names_of_pytorch.py.")
    for module in MODULES:  # all at first: some add names to others
        importlib.import_module(module)
    for where in sorted([*MODULES, *CLASSES]):
        lines += section(where, overrides)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(names_file(), end="")
