"""What compute-sanitizer is given to look at must be every kernel."""

import re
import sys
from pathlib import Path

import pytest

import tinygrad_lm as tg

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import every_kernel

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("emulated_gpu")]


def test_the_script_for_the_sanitizer_reaches_every_kernel(monkeypatch):
    from tinygrad_lm.engine.kernels.cuda import source  # needs CuPy

    reached, plain = set(), source.Source.kernel

    def kernel(self, function, **chosen):
        reached.add(function)
        return plain(self, function, **chosen)

    monkeypatch.setattr(source.Source, "kernel", kernel)
    monkeypatch.setattr(sys, "argv", ["every_kernel.py", "--threads", str(tg.get_num_threads())])
    every_kernel.main()
    text = "".join(path.read_text() for path in source.FOLDER.glob("*.cu"))
    named = r"__global__[^(;{]*?\bvoid\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\("
    there = set(re.findall(named, text))
    assert len(there) > 25 and there - reached == set()
