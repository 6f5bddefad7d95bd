"""`--coverage`: which torch names files use, whose they are where another name hides them, and the
count over many files."""

import json
import textwrap

import pytest

from tinygrad_lm.as_torch.__main__ import main
from tinygrad_lm.as_torch.coverage import names_of
from tinygrad_lm.as_torch.names import is_nowhere, sections

SOURCE = """
import torch, numpy as np
import torch.nn as nn
from torch.nn import functional as F, Unknown
from torch.fft import rfft as r
x = torch.randn(3).no_matter()
y = F.softmax(torch.jit.script(x), -1) + np.nothing
nn.Linear(2, torch.long.itemsize); self.torch.what
torch.backends.mps.is_initialized()
"""
MISSING = ["torch.fft.rfft", "torch.jit.script"]
NOWHERE = ["torch.backends.mps.is_initialized", "torch.nn.Unknown"]


def names_in(folder, source):
    (folder / "file.py").write_text(textwrap.dedent(source))
    return names_of(folder / "file.py")


def test_a_file_and_a_notebook(tmp_path):
    names = names_in(tmp_path, SOURCE)
    assert names.missing == MISSING and names.nowhere == NOWHERE
    assert set(names.used) - {*MISSING, *NOWHERE} == {
        "torch.nn.functional.softmax", "torch.randn", "torch.nn.Linear", "torch.long.itemsize",
    }  # fmt: skip
    cells = [
        {"cell_type": "markdown", "source": ["torch.only_talked_about"]},
        {
            "cell_type": "code",
            "source": ["%matplotlib inline\n", "!ls\n", *SOURCE.splitlines(True)],
        },
        {"cell_type": "code", "source": "%%bash\necho not python"},
        {"cell_type": "code", "source": "F.relu; F.relu"},
    ]
    (tmp_path / "book.ipynb").write_text(json.dumps({"cells": cells}))
    book = names_of(tmp_path / "book.ipynb")
    assert (book.missing, book.nowhere) == (MISSING, NOWHERE)
    assert book.used - names.used == {"torch.nn.functional.relu": 2}


SHADOWED = [
    # what is read, and whether it is torch's
    ("import torch.nn as config\nconfig.Linear\nconfig = Foo()\nconfig.n_layer", "Linear"),
    ("import torch.nn as c\ndef f(c):\n    c.n_layer\nc.ReLU", "ReLU"),
    ("import torch.nn as c\ndef f():\n    c = 1 + 1\n    c.n_layer\nc.ReLU", "ReLU"),
    ("import torch.nn as c\nf = lambda c: c.n_layer\n[c.no for c in []]\nc.ReLU", "ReLU"),
    ("import torch.nn as c\nclass A:\n    c = 3 + 4\n    def f(self):\n        c.ReLU", "ReLU"),
    ("def f():\n    import torch.nn as c\n    c.ReLU\nc.n_layer", "ReLU"),
    ("try:\n    import torch.nn as c\nexcept ImportError:\n    c = None\nc.ReLU", "ReLU"),
    ("def f():\n    global c\n    import torch.nn as c\ndef g():\n    c.ReLU", "ReLU"),
    ("import torch.nn as c\nfor c in []:\n    c.no\nwith a as c:\n    c.no", ""),
    ("import torch.nn as c\ndef c():\n    pass\nc.cache", ""),
    ("import torch.nn as c\nc = c.ReLU()\nc.n_layer", "ReLU"),
    ("import torch.nn as c\nasync def f(*, a: c.ReLU = c.ELU, **c):\n    c.no", "ELU ReLU"),
    ("import torch.nn as c\ntry:\n    c.ReLU\nexcept Error as c:\n    c.no", "ReLU"),
    ("import torch.nn as c\nmatch 3:\n    case c:\n        c.no", ""),
    ("import torch.nn as c\n{k: c.ReLU for k in c.ELU}\n(c := 3)\nc.no", "ELU ReLU"),
]


@pytest.mark.parametrize("source, names", SHADOWED)
def test_a_name_that_is_hidden_is_not_torchs(tmp_path, source, names):
    expected = [f"torch.nn.{name}" for name in names.split()] or ["torch.nn"]
    assert sorted(names_in(tmp_path, source).used) == expected


def test_methods_that_may_be_tensors(tmp_path):
    """Only what PyTorch's Tensor has and ours has not, and what no other object at hand has."""
    source = """
        import torch, other
        class Mine:
            def record_stream(self): pass
        x.record_stream(); x.resize_as_sparse_(3); x.sum(); x.no_such(); "a".index("b")
        other.to_mkldnn(); torch.ones(3).to_sparse(); x.map_; np.zeros(3).to_sparse_csr(1)
    """
    assert names_in(tmp_path, source).perhaps == [
        "torch.Tensor.to_sparse",
        "torch.Tensor.to_sparse_csr",
    ]
    assert names_in(tmp_path, "x.to_sparse()").perhaps == []  # a file without torch


def test_what_is_printed_of_one_file(tmp_path, capsys):
    names_in(tmp_path, SOURCE)
    assert main(["--coverage", str(tmp_path / "file.py")]) == 1
    out = capsys.readouterr().out
    assert "present  torch.randn\n" in out
    assert "missing  torch.jit.script; there is no second language" in out
    assert "neither  torch.nn.Unknown: not in PyTorch 2.13 either\n" in out
    assert out.endswith("8 torch names used, 2 missing\n")
    names_in(tmp_path, "import torch\ntorch.ones(3)")
    assert main(["--coverage", str(tmp_path / "file.py")]) == 0
    names_in(tmp_path, "from torch import nn\nnn.Linaer\nnn.functional.geluu")
    main(["--coverage", str(tmp_path / "file.py")])
    assert "neither  torch.nn.Linaer" in capsys.readouterr().out
    (tmp_path / "file.py").write_text("import torch\nif:")
    assert main(["--coverage", str(tmp_path / "file.py")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_many_files_are_counted_and_ranked(tmp_path, capsys):
    below = tmp_path / "below" / ".hidden"
    below.mkdir(parents=True)
    (tmp_path / "a.py").write_text("import torch\ntorch.jit.script\ntorch.fft.fft\ntorch.ones")
    (tmp_path / "b.py").write_text("import torch\ntorch.fft.fft; torch.fft.fft; torch.nn.Unknown")
    (tmp_path / "below" / "c.py").write_text("import torch\ntorch.ones(2)")
    (tmp_path / "below" / "none.py").write_text("import numpy")
    (tmp_path / "below" / "bad.ipynb").write_text("{}")
    (tmp_path / "below" / "worse.py").write_bytes(b"\xff\xfe")
    (below / "not.py").write_text("import torch\ntorch.jit.trace")
    assert main(["--coverage", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f"   1 present   2 missing  {tmp_path / 'a.py'}",
        f"   0 present   1 missing  {tmp_path / 'b.py'}",
        f"   1 present   0 missing  {tmp_path / 'below' / 'c.py'}",
    ]
    assert lines[3].startswith("missing  torch.fft.fft: 2 files, 3 uses; numbers are real")
    assert lines[4].startswith("missing  torch.jit.script: 1 files, 1 uses")
    assert lines[5] == "neither  torch.nn.Unknown: 1 files, 1 uses: not in PyTorch 2.13 either"
    assert ["bad.ipynb" in lines[6], "worse.py" in lines[7]] == [True, True]
    assert lines[8] == "1 of 3 files have every name (33 %)" and len(lines) == 9
    good = [str(tmp_path / "below" / name) for name in ("c.py", "none.py")]
    assert main(["--coverage", *good]) == 0
    assert capsys.readouterr().out.endswith("1 of 1 files have every name (100 %)\n")


def test_the_list_of_names():
    listed = sections()
    assert listed["torch.nn"]["Linear"] == [
        "in_features",
        "out_features",
        "bias",
        "device",
        "dtype",
    ]
    assert "resize_" in listed["torch.Tensor"] and "inf" in listed["torch"]
    assert sum(map(len, listed.values())) > 2500
    assert is_nowhere("torch.Tensr") and is_nowhere("torch.nn.functional.softmx.x")
    for name in (
        "torch",
        "torch.nn",
        "torch.mtia",
        "torch._inductor.config",
        "torch.ones.x",
        "np.x",
    ):
        assert not is_nowhere(name), name
