"""A script that trains on several processes, in the style of nanoGPT and of "Let's reproduce
GPT-2", prints the same by PyTorch over gloo and by `mpiexec -n N python -m tinygrad_lm.as_torch`,
numbers to 1e-4."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "course" / "many.py"
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")
pytestmark = pytest.mark.mpi


def launch():
    """tests/ranks/launch.py, which is in a folder of other tests."""
    spec = importlib.util.spec_from_file_location("launch", ROOT / "tests" / "ranks" / "launch.py")
    sys.modules["launch"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_torch(count, script):
    """What its ranks print together, in the environment that torchrun makes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(count):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
        environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "PYTHONWARNINGS": "ignore"}
        environment |= {name: str(value) for name, value in names.items()}
        ranks.append(
            subprocess.Popen(
                [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
            )
        )
    try:
        printed = [rank.communicate(timeout=60)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0] * count
    return "".join(printed)


@pytest.mark.parametrize("count", [2])
def test_a_script_on_several_processes_prints_what_pytorch_prints(count):
    done = launch().run(count, ["-m", "tinygrad_lm.as_torch", SCRIPT])
    assert done.code == 0, done
    wanted = by_torch(count, SCRIPT)
    assert NUMBER.sub("#", done.out) == NUMBER.sub("#", wanted)
    got, want = (np.array(NUMBER.findall(text), float) for text in (done.out, wanted))
    assert len(want) > 100
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
