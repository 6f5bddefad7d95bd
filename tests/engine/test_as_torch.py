"""The alias: torch and its submodules are this package, the same objects; scripts run as Python
runs them; what is missing is said as Python says it, with what is close. Knows no mathematics."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tinygrad_lm as tl
from tinygrad_lm import aliases, as_torch
from tinygrad_lm.as_torch import refused
from tinygrad_lm.as_torch.coverage import exists, names_of

ROOT = Path(__file__).parents[2]

# What the public code of the course calls, as `module: names`.
SURFACE = """
torch: Generator Tensor all allclose arange autocast bfloat16 cat compile device distributed dtype
    float float16 float32 from_numpy histogram inference_mode int32 linspace load log long
    manual_seed multinomial nn no_grad ones ones_like optim pow rand randint randn randperm roll
    save softmax sqrt stack sum tanh tensor topk tril unbind utils zeros zeros_like exp mean bool
torch.amp: GradScaler autocast
torch.backends.cuda.matmul: allow_tf32
torch.backends.cudnn: allow_tf32
torch.cuda: amp is_available is_bf16_supported manual_seed manual_seed_all set_device synchronize
torch.cuda.amp: GradScaler autocast
torch.distributed: destroy_process_group init_process_group
torch.nn: BatchNorm1d Dropout Embedding GELU GRU LSTM LayerNorm Linear Module ModuleDict ModuleList
    MultiheadAttention Parameter RNN ReLU Sequential Tanh functional init parallel utils
torch.nn.functional: cross_entropy gelu layer_norm one_hot relu scaled_dot_product_attention
    sigmoid softmax tanh
torch.nn.init: kaiming_normal_ normal_ ones_ zeros_
torch.nn.parallel: DistributedDataParallel
torch.nn.utils: clip_grad_norm_
torch.optim: Adam AdamW SGD lr_scheduler
torch.utils.data: DataLoader Dataset RandomSampler TensorDataset dataloader
torch.utils.data.dataloader: DataLoader
torch.utils.tensorboard: SummaryWriter
torch.Tensor: T abs add all backward clone contiguous copy_ data detach device dim double dtype exp
    float grad grad_fn histogram indices_ item log log10 long masked_fill matmul max mean mT
    multinomial ndim nelement norm normal_ numel pin_memory pow requires_grad retain_grad shape
    sigmoid size softmax split sqrt squeeze std sum t tanh to tolist topk transpose tril type
    unsqueeze var view zero_ __getitem__ __setitem__ __iadd__ __rpow__ __invert__ __matmul__
""".replace(" indices_", "")


def run(*arguments, script=None, folder=None, cwd=ROOT):
    """`python -m tinygrad_lm.as_torch ARGUMENTS`, the script's text written to a file first."""
    if script is not None:
        path = folder / "script.py"
        path.write_text(textwrap.dedent(script))
        arguments = (path, *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tinygrad_lm.as_torch", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def printed(*arguments, **settings):
    done = run(*arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_of_the_course_is_there(tmp_path):
    lines = ["import torch"]
    for entry in SURFACE.strip().replace("\n    ", " ").splitlines():
        where, _, names = entry.partition(": ")
        lines += [f"{where}.{name}" for name in names.split()]
    assert len(lines) > 170
    path = tmp_path / "all.py"
    path.write_text("\n".join(lines))
    names = names_of(path)
    assert names.missing == names.nowhere == [] and len(names.used) > 160
    path.write_text("import torch\ntorch.Tensor.no_such_method")
    assert names_of(path).nowhere == ["torch.Tensor.no_such_method"]


def test_submodules_are_the_same_objects_and_nothing_is_loaded_twice(tmp_path):
    script = """
        import importlib, sys
        import torch, torch.nn, torch.utils.data
        import torch.nn.functional as F
        from torch import nn, optim
        from torch.nn import Linear
        from torch.optim.lr_scheduler import StepLR
        from torch.utils.data.dataloader import DataLoader
        from torch.utils.data import DataLoader as same
        import tinygrad_lm, tinygrad_lm.nn.functional, tinygrad_lm.as_torch
        assert torch is tinygrad_lm and nn is tinygrad_lm.nn and F is tinygrad_lm.nn.functional
        assert Linear is tinygrad_lm.nn.Linear and DataLoader is same
        for name in sys.argv[1:]:
            ours = importlib.import_module(f"tinygrad_lm.{name}")
            exec(f"import torch.{name} as found; assert found is ours is torch.{name}")
            above, _, last = f"torch.{name}".rpartition(".")
            exec(f"from {above} import {last} as found; assert found is ours")
        files = {}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None) or ""
            if "tinygrad_lm" in file:
                assert files.setdefault(file, module) is module, file
        print(tinygrad_lm.as_torch.install() is torch)
    """
    names = sorted({*aliases.PYTORCH, *as_torch.LOADED, "nn.parallel"})
    assert len(names) > 25
    assert printed(*names, script=script, folder=tmp_path).split() == ["True"]


def test_a_page_is_loaded_when_it_is_asked_for():
    """Nothing but two small pages is loaded by install(); others by an attribute too."""
    program = """
import sys, tinygrad_lm.as_torch as t
before = set(sys.modules)
torch = t.install()
print(*sorted(n for n in set(sys.modules) - before if n.startswith("tinygrad_lm")))
print("tinygrad_lm.pages.compiler" in sys.modules, torch.torch_version.TorchVersion.__name__)
print("cupy" in sys.modules, torch.version.cuda is None or torch.cuda.is_available())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "tinygrad_lm.pages.second_derivatives tinygrad_lm.pages.version",
        "True TorchVersion",
        "False True",
    ]


MISSING = [
    ("torch.tensr", AttributeError, "module 'torch' has no attribute 'tensr'; close: "),
    ("torch.nn.Linaer", AttributeError, "close: Linear"),
    ("torch.nn.functional.crossentropy", AttributeError, "close: cross_entropy"),
    ("from torch import jits", ImportError, "cannot import name 'jits' from 'torch'"),
    ("from torch import view_as_complex", ImportError, "; numbers are real here"),
    ("torch.sparse_coo_tensor", AttributeError, "; a tensor is dense here"),
    ("torch.ones(2).to_sparse()", AttributeError, "[torch.Tensor.to_sparse] a tensor is dense"),
    ("torch.jit.script(len)", NotImplementedError, "[torch.jit.script] there is no second"),
    ("class A(torch.jit.ScriptModule): pass", NotImplementedError, "[torch.jit.ScriptModule]"),
    ("torch.onnx.TrainingMode.EVAL", AttributeError, "[torch.onnx.TrainingMode.EVAL] a model"),
    ("import torch.utils.data.nothing", ModuleNotFoundError, "No module named 'torch.utils.data."),
    ("from torch.nn import Linaer", ImportError, "close: Linear"),
    ("import torch.nn.functionall", ModuleNotFoundError, "close: torch.nn.functional"),
    ("import torch.models.gpt", ModuleNotFoundError, "No module named 'torch.models'"),
    ("import torch._dynamo", ModuleNotFoundError, "No module named 'torch._dynamo'"),
    ("from transformers import GPT2LMHeadModel", ModuleNotFoundError, "needs PyTorch itself"),
    ("from safetensors.torch import load_file", ModuleNotFoundError, "use load_safetensors"),
]


def test_what_is_missing_is_said_as_python_says_it(tmp_path):
    script = """
        import json, sys
        import torch, torch.nn
        for line in json.loads(sys.argv[1]):
            try:
                exec(line)
            except Exception as error:
                print(json.dumps([type(error).__name__, str(error)]))
        assert not hasattr(torch, "polar") and hasattr(torch, "cat")
        assert not hasattr(torch.nn, "Transformr") and getattr(torch, "quint8", 3) == 3
        assert not hasattr(torch.Tensor, "to_sparse")
    """
    lines = json.dumps([line for line, _, _ in MISSING])
    found = [
        json.loads(line) for line in printed(lines, script=script, folder=tmp_path).split("\n")[:-1]
    ]
    assert len(found) == len(MISSING)
    for (line, kind, part), (name, message) in zip(MISSING, found):
        assert name == kind.__name__ and part in message, (line, message)


def test_what_is_refused_can_be_imported_and_asked_about(tmp_path):
    script = """
        import torch.jit, torch.fx as fx, torch.export as ex
        from torch.onnx import export
        import torch.distributed.fsdp.wrap, torch.ao.quantization
        assert torch.fx is fx and not isinstance(torch.nn.Linear(1, 1), fx.GraphModule)
        assert torch.xpu.is_available() is False and hasattr(torch, "xpu")
        assert torch.jit.is_scripting() is False and torch.jit.__doc__.startswith("there is no")
        try:
            ex.export(print, ())
        except NotImplementedError as error:
            print(error)
    """
    out = printed(script=script, folder=tmp_path)
    assert out.startswith("[torch.export.export] no program is recorded")


def test_nothing_that_is_here_is_refused():
    names = [name for name in refused.PATTERNS if not set("*?[") & set(name)]
    assert len(names) > 60 and [name for name in names if exists(name)] == []
    assert [name for name in refused.PLACES if as_torch.real_name(name)] == []


def test_a_script_runs_as_python_runs_it(tmp_path):
    (tmp_path / "beside.py").write_text("value = 7")
    script = """
        import sys
        from dataclasses import dataclass
        import beside, torch
        @dataclass
        class C:
            x: int = 1
        assert C.__annotations__ == {"x": int}  # no __future__ but the script's own
        print(sys.argv[1:], __name__, sys.modules["__main__"].C is C, beside.value, __file__)
        print(sys.path[0], "real" if "torch/_C" in str(sys.modules) else "alias")
        sys.exit(5)
    """
    done = run("--x", "1", script=script, folder=tmp_path, cwd=tmp_path)
    assert done.returncode == 5 and done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == f"['--x', '1'] __main__ True 7 {tmp_path / 'script.py'}"
    assert second == f"{tmp_path} alias"


def test_a_traceback_shows_the_script_only(tmp_path):
    done = run(script="import torch\ndef f():\n    1 / 0\nf()\n", folder=tmp_path)
    assert done.returncode == 1 and "as_torch" not in done.stderr
    assert done.stderr.startswith("Traceback") and done.stderr.count("script.py") == 2
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    stopped = run(script="import torch\nraise KeyboardInterrupt\n", folder=tmp_path)
    assert stopped.returncode == 130 and "as_torch" not in stopped.stderr
    wrong = run(script="import torch\nif:\n", folder=tmp_path)
    assert wrong.returncode == 1 and "SyntaxError" in wrong.stderr
    assert "as_torch" not in wrong.stderr


def test_a_file_that_is_not_there():
    done = run("no_such_script.py")
    assert done.returncode == 2 and "no file 'no_such_script.py'" in done.stderr


def test_installing_twice_is_one_and_after_the_real_torch_an_error():
    program = """
import sys, types
import tinygrad_lm.as_torch as t
sys.modules["torch"] = types.ModuleType("torch")
try:
    t.install()
except RuntimeError as error:
    print("before anything imports torch" in str(error))
del sys.modules["torch"]
first, before = t.install(), len(sys.meta_path)
print(t.install() is first, len(sys.meta_path) == before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"] * 3


@pytest.mark.parametrize("script", ["nano.py", "more.py", "mini.py", "batchnorm.py"])
def test_the_course_uses_nothing_that_is_missing(script):
    assert names_of(ROOT / "tests" / "course" / script).missing == []


def test_a_lecture_script_runs_without_pytorch(tmp_path):
    out = printed(ROOT / "tests" / "course" / "attention.py")
    assert "[0.5000, 0.5000, 0.0000]" in out and "True True" in out


def test_signatures_are_real_ones():
    import inspect

    optimizer = inspect.signature(tl.optim.AdamW).parameters
    assert list(optimizer)[:5] == ["params", "lr", "betas", "eps", "weight_decay"]
    assert "fused" in optimizer
    loader = inspect.signature(tl.utils.data.DataLoader).parameters
    assert list(loader)[:4] == ["dataset", "batch_size", "shuffle", "sampler"]
    assert list(inspect.signature(tl.save).parameters)[:2] == ["obj", "f"]
    assert "map_location" in inspect.signature(tl.load).parameters


def test_the_version_is_one_of_pytorch(tmp_path):
    """As scripts ask for it: a number before the first dot, a tuple, a PEP 440 version."""
    (tmp_path / "asks.py").write_text(
        "import torch, re, torch.version\n"
        "assert torch.__version__ >= '2.0' and torch.__version__ < (2, 14)\n"
        "assert torch.version.__version__ == torch.__version__ and torch.version.hip is None\n"
        "assert (torch.version.cuda is None) != torch.cuda.is_available()\n"
        "print(int(torch.__version__.split('.')[0]) >= 2)\n"
        "print(tuple(int(x) for x in torch.__version__.split('+')[0].split('.')[:2]) >= (2, 0))\n"
        "print(re.fullmatch(r'\\d+(\\.\\d+)*\\+[a-z0-9]+([-_.][a-z0-9]+)*', torch.__version__))\n"
    )
    lines = printed(tmp_path / "asks.py").splitlines()
    assert lines[:2] == ["True", "True"] and f"{as_torch.VERSION}+tinygrad_lm" in lines[2]
    pins = (ROOT / "setup.py").read_text()
    assert f"torch=={as_torch.VERSION}" in pins and tl.__version__ in pins
