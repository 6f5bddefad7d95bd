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
from tinygrad_lm import as_torch

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
    used, missing = as_torch.coverage(str(path))
    assert missing == [] and len(used) > 160
    path.write_text("import torch\ntorch.Tensor.no_such_method")
    assert as_torch.coverage(str(path))[1] == ["torch.Tensor.no_such_method"]


def test_submodules_are_the_same_objects_and_nothing_is_loaded_twice(tmp_path):
    script = """
        import sys
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
        names = tinygrad_lm.as_torch.SUBMODULES
        for name in names:
            ours = sys.modules[f"tinygrad_lm.{name}"]
            assert sys.modules[f"torch.{name}"] is ours
            exec(f"import torch.{name} as found; assert found is ours")
        files = {}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None) or ""
            if "tinygrad_lm" in file:
                assert files.setdefault(file, module) is module, file
        print(len(names), tinygrad_lm.as_torch.install() is torch)
    """
    assert printed(script=script, folder=tmp_path).split() == [
        str(len(as_torch.SUBMODULES)),
        "True",
    ]


MISSING = [
    ("torch.tensr", AttributeError, "module 'torch' has no attribute 'tensr'; close: "),
    ("torch.nn.Linaer", AttributeError, "close: Linear"),
    ("torch.nn.functional.crossentropy", AttributeError, "close: cross_entropy"),
    ("from torch import jit", ImportError, "cannot import name 'jit' from 'torch'"),
    ("from torch.nn import Linaer", ImportError, "close: Linear"),
    ("import torch.nn.functionall", ModuleNotFoundError, "close: torch.nn.functional"),
    ("import torch.models.gpt", ModuleNotFoundError, "No module named 'torch.models'"),
    ("import torch._dynamo", ModuleNotFoundError, "No module named 'torch._dynamo'"),
    ("from transformers import GPT2LMHeadModel", ModuleNotFoundError, "needs PyTorch itself"),
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
        assert not hasattr(torch, "jit") and hasattr(torch, "cat")
        assert not hasattr(torch.nn, "Container") and getattr(torch, "jit", 3) == 3
    """
    lines = json.dumps([line for line, _, _ in MISSING])
    found = [
        json.loads(line) for line in printed(lines, script=script, folder=tmp_path).split("\n")[:-1]
    ]
    assert len(found) == len(MISSING)
    for (line, kind, part), (name, message) in zip(MISSING, found):
        assert name == kind.__name__ and part in message, (line, message)


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
    assert done.returncode == 2 and "got no_such_script.py" in done.stderr


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


def test_coverage_of_a_file_and_a_notebook(tmp_path):
    source = """
        import torch, numpy as np
        import torch.nn as nn
        from torch.nn import functional as F, Unknown
        from torch.fft import rfft as r
        x = torch.randn(3).no_matter()
        y = F.softmax(torch.jit.script(x), -1) + np.nothing
        nn.Linear(2, torch.long.itemsize); self.torch.what
    """
    source = textwrap.dedent(source)
    (tmp_path / "file.py").write_text(source)
    expected_missing = ["torch.fft.rfft", "torch.jit.script", "torch.nn.Unknown"]
    used, missing = as_torch.coverage(str(tmp_path / "file.py"))
    assert missing == expected_missing
    assert set(used) - set(missing) == {
        "torch.nn.functional.softmax", "torch.randn", "torch.nn.Linear", "torch.long.itemsize",
    }  # fmt: skip
    cells = [
        {"cell_type": "markdown", "source": ["torch.only_talked_about"]},
        {
            "cell_type": "code",
            "source": ["%matplotlib inline\n", "!ls\n", *source.splitlines(True)],
        },
        {"cell_type": "code", "source": "%%bash\necho not python"},
        {"cell_type": "code", "source": "F.relu"},
    ]
    (tmp_path / "book.ipynb").write_text(json.dumps({"cells": cells}))
    in_book, missing = as_torch.coverage(str(tmp_path / "book.ipynb"))
    assert missing == expected_missing and set(in_book) - set(used) == {"torch.nn.functional.relu"}

    done = run("--coverage", tmp_path / "file.py")
    assert done.returncode == 1 and "missing  torch.jit.script" in done.stdout
    assert "missing  torch.nn.Unknown\n" in done.stdout
    assert done.stdout.endswith(f"{len(used)} torch names used, 3 missing\n")
    (tmp_path / "good.py").write_text("import torch\ntorch.ones(3)")
    assert run("--coverage", tmp_path / "good.py").returncode == 0
    (tmp_path / "close.py").write_text("from torch import nn\nnn.Linaer\nnn.functional.geluu")
    printed = run("--coverage", tmp_path / "close.py").stdout
    assert "missing  torch.nn.Linaer; close: Linear, Bilinear\n" in printed
    assert "missing  torch.nn.functional.geluu; close: gelu" in printed


@pytest.mark.parametrize("script", ["nano.py", "more.py", "mini.py", "batchnorm.py"])
def test_the_course_uses_nothing_that_is_missing(script):
    assert as_torch.coverage(str(ROOT / "tests" / "course" / script))[1] == []


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
        "import torch, re\n"
        "print(int(torch.__version__.split('.')[0]) >= 2)\n"
        "print(tuple(int(x) for x in torch.__version__.split('+')[0].split('.')[:2]) >= (2, 0))\n"
        "print(re.fullmatch(r'\\d+(\\.\\d+)*\\+[a-z0-9]+([-_.][a-z0-9]+)*', torch.__version__))\n"
    )
    lines = printed(tmp_path / "asks.py").splitlines()
    assert lines[:2] == ["True", "True"] and f"{as_torch.VERSION}+tinygrad_lm" in lines[2]
    pins = (ROOT / "setup.py").read_text()
    assert f"torch=={as_torch.VERSION}" in pins and tl.__version__ in pins
