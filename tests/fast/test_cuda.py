"""The ops, a training and the model on a real GPU, beside NumPy. Runs where CuPy finds one, and is
the only file of tests that may be skipped everywhere."""

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from op_laws import assert_close, pull, run, some_cases, upstream
from op_specs import SPECS, Case
from test_fake_device import INDEX

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.models.gpt import GPT, GPTConfig

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


@pytest.mark.parametrize("name", [name for name in OPS if name != "copy_to"])
def test_every_op_gives_what_numpy_gives(name, gpu):
    spec = SPECS[name]
    for case in some_cases(spec, 8) + [known.case for known in spec.known]:
        want, leaves = run(OPS[name], case)
        g = upstream(want)
        gradients = pull(want, leaves, g) if want.requires_grad else []
        out, leaves = run(OPS[name], case, gpu.asarray)
        found = pull(out, leaves, gpu.asarray(g)) if want.requires_grad else []
        assert type(out.array) is gpu.ndarray
        assert_close(arrays.to_numpy(out.array), want.array)
        for got, known in zip(found, gradients):
            if np.isfinite(known).all():
                assert_close(arrays.to_numpy(got), known, what="gradient")


@pytest.mark.parametrize("name", INDEX)
def test_indices_out_of_range_are_told_when_something_is_read(name, gpu):
    wrong = next(w for w in SPECS[name].wrong if w.error is IndexError)
    run(OPS[name], Case(wrong.inputs, wrong.settings), gpu.asarray)
    with pytest.raises(IndexError, match="index must be in 0 .*got"):
        tg.ones(1, device="cuda").item()
    assert tg.ones(1, device="cuda").item() == 1.0  # said once


def losses(device, steps=10):
    tg.manual_seed(1)
    model = GPT(GPTConfig(block_size=8, vocab_size=11, n_layer=2, n_head=2, n_embd=16)).to(device)
    optimizer = model.configure_optimizers(0.1, 1e-2, (0.9, 0.99), device)
    ids = tg.randint(11, (4, 9)).to(device)
    found = []
    for _ in range(steps):
        _, loss = model(ids[:, :-1], ids[:, 1:].contiguous())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        tg.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        found.append(loss.item())
    return found


def test_a_gpt_learns_there_as_here_and_twice_the_same():
    there = losses("cuda")
    np.testing.assert_allclose(there, losses("cpu"), rtol=1e-4)
    assert there == losses("cuda")


def test_tensors_travel_and_gradients_come_back():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.cuda() * 2
    assert y.is_cuda and str(y.device) == "cuda:0"
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="same device, got"):
        x + y
