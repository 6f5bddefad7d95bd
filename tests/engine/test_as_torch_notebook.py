"""Notebooks at the door: their code runs as in Jupyter; what speaks to Jupyter or a shell is left
out and said; a failure names its cell and line; and the door in a notebook of Jupyter."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinygrad_lm import as_torch
from tinygrad_lm.as_torch import notebook

ROOT = Path(__file__).parents[2]


def run(folder, *cells, arguments=(), program=()):
    """What `python -m tinygrad_lm.as_torch book.ipynb` does with these code cells."""
    made = [{"cell_type": "code", "source": cell} for cell in cells]
    made.insert(0, {"cell_type": "markdown", "source": "1 / 0"})
    (folder / "book.ipynb").write_text(json.dumps({"nbformat": 4, "cells": made}))
    command = [sys.executable, *(program or ("-m", "tinygrad_lm.as_torch")), "book.ipynb"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_cells_run_in_order_in_one_namespace(tmp_path):
    done = run(
        tmp_path,
        "import torch, sys\nfrom dataclasses import dataclass\nx = torch.ones(2)\nx + 1",
        "x.sum();",
        ["%%time\n", "y = x * 3\n", "y.tolist()"],
        "%time z = 4\n%timeit -n 10 -r3 print('timed')\nif z:\n    !touch made\n    %cd ..\nz",
        "# a comment at the end\n_ + 1\n",
        "None",
        "_ = 'own'\n5",
        "print(_, __name__, sys.argv[1:])\n'text'",
        "from tinygrad_lm import as_torch\nas_torch.install()",
        "display(torch.float32)",
        arguments=["--x", "1"],
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:-2] == [
        "tensor([2., 2.])", "[3.0, 3.0]", "timed", "4", "5", "5",
        "own __main__ ['--x', '1']", "'text'",
    ]  # fmt: skip
    assert lines[-2].startswith("torch is tinygrad_lm ") and lines[-1] == "torch.float32"
    assert done.stderr.splitlines() == [
        "book.ipynb, cell 4, line 4 left out: !touch made",
        "book.ipynb, cell 4, line 5 left out: %cd ..",
    ]
    assert not (tmp_path / "made").exists()


def test_a_failing_cell_ends_the_run_and_is_named(tmp_path):
    cells = "def f(x):\n    return 1 / x", "%matplotlib inline\n\nf(0)", "print('not reached')"
    done = run(tmp_path, *cells)
    assert done.returncode == 1 and done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if set(line) - set(" ~^")]
    assert lines == [
        "book.ipynb, cell 2, line 1 left out: %matplotlib inline",
        "Traceback (most recent call last):",
        "  book.ipynb, cell 2, line 3, in <module>",
        "    f(0)",
        "  book.ipynb, cell 1, line 2, in f",
        "    return 1 / x",
        "ZeroDivisionError: division by zero",
    ]
    wrong = run(tmp_path, "1", "if:\n    pass")
    assert wrong.returncode == 1 and "  book.ipynb, cell 2, line 1\n    if:\n" in wrong.stderr
    assert "as_torch" not in wrong.stderr and wrong.stderr.endswith("SyntaxError: invalid syntax\n")


def test_how_a_notebook_ends(tmp_path):
    assert run(tmp_path, "import sys\nsys.exit(5)").returncode == 5
    stopped = run(tmp_path, "raise KeyboardInterrupt")
    assert stopped.returncode == 130 and "book.ipynb, cell 1, line 1" in stopped.stderr


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="the way with it")
def test_pictures_are_drawn_and_not_shown(tmp_path):
    done = run(
        tmp_path,
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);\nplt.show()",
        "len(plt.get_fignums()), plt.get_backend().lower()",
    )
    assert (done.returncode, done.stdout) == (0, "(0, 'agg')\n")
    assert done.stderr == "pictures are not shown; plt.savefig(...) writes one\n"


def test_without_matplotlib_and_ipython_nothing_is_drawn(tmp_path):
    """They and graphviz are hidden from the process, whether they are there or not."""
    hide = (
        "import sys; from importlib.machinery import PathFinder; find = PathFinder.find_spec\n"
        "hidden = 'matplo', 'IPytho', 'graphv'\n"
        "PathFinder.find_spec = lambda n, *a: None if n[:6] in hidden else find(n, *a)\n"
        "from tinygrad_lm.as_torch.run import run; run(sys.argv[1], [])"
    )
    done = run(
        tmp_path,
        "import matplotlib.pyplot as plt, matplotlib.ticker\nfrom matplotlib import cm",
        "plt.figure(figsize=(3, 4)).add_subplot(2)\nplt.show()",
        "fig, (a, b) = plt.subplots(1, ncols=2)\na.plot([1]); b.set_title('x')",
        "f, ax = plt.subplots()\nwith plt.style.context('x'):\n    ax.lines[0].x = 3\nax",
        "from IPython.display import display, clear_output, Image\nclear_output()\ndisplay(3)",
        "[x for x in plt.hist([1])]",
        "from graphviz import Digraph\ndot = Digraph(format='svg')\ndot.edge('a', 'b')\ndot",
        program=("-c", hide),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "pictures are not shown; matplotlib is not installed",
        "pictures are not shown; graphviz is not installed",
    ]
    shown = ["<set_title, not shown>", "<axes, not shown>", "3", "[]", "<Digraph, not shown>"]
    assert done.stdout.splitlines() == shown


def test_a_bar_of_progress_is_text(tmp_path):
    """tqdm.notebook needs ipywidgets and Jupyter; here it is the bar of a terminal."""
    done = run(
        tmp_path,
        "from tqdm.notebook import tqdm, trange\nfrom tqdm import tqdm_notebook",
        "for i in tqdm(range(2), desc='one'):\n    pass\n[*trange(2), *tqdm_notebook([5])]",
    )
    assert (done.returncode, done.stdout) == (0, "[0, 1, 5]\n"), done.stderr
    assert "one: 100%" in done.stderr and "2/2" in done.stderr


LINES = [
    # a cell, its Python, the lines left out
    ("a = (1\n% 2)", "a = (1\n% 2)", []),
    ('s = """\n!not a command\n"""', 's = """\n!not a command\n"""', []),
    ("%%bash\nls", "pass", [1]),
    ("\n%%capture out\nx", "\n\nx", []),
    ("%pip install \\\n  torch\nx", "pass\npass\nx", [1]),
    ("files = !ls\nx?\n?x\nx.y??", "pass\npass\npass\npass", [1, 2, 3, 4]),
    ("for i in x:\n    %time f(i)\n    %time", "for i in x:\n    f(i)\n    pass", []),
    ("a != b\n!ls", "a != b\npass", [2]),
    ("", "", []),
]


@pytest.mark.parametrize("cell, python, left_out", LINES)
def test_what_is_left_of_a_cell(cell, python, left_out):
    source, lines = notebook.python_of(cell)
    assert (source, [line for line, _ in lines]) == (python, left_out)


def test_as_an_extension_of_jupyter(capsys):
    """`%load_ext` imports the module and calls this; a shell's display asks `_ipython_display_`."""
    program = """
import tinygrad_lm.as_torch as door
door.load_ipython_extension(None)
import torch, tinygrad_lm
assert torch is tinygrad_lm is door.install()
torch._ipython_display_()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("torch is tinygrad_lm 0.") and "PyTorch" in done.stdout
    as_torch.unload_ipython_extension(SimpleNamespace())
    assert "restart the kernel" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", "[]", '{"worksheets": []}', '{"cells": 5}', '{"cells": [{"cell_type": "code"}]}']
)
def test_a_notebook_that_is_none_is_said_in_a_sentence(tmp_path, text):
    (tmp_path / "book.ipynb").write_text(text)
    with pytest.raises(ValueError, match=r"^\[notebook\] a notebook of format 4 must have cells"):
        list(notebook.cells(tmp_path / "book.ipynb"))
