"""Mixed precision and saved files beside PyTorch: which dtype each op has inside autocast, how a
scaler's scale moves, and that PyTorch's own files are refused."""

import pytest

import tinygrad_lm as tl

torch = pytest.importorskip("torch")

INSIDE = [
    "lin(x)", "x @ x.T", "lib.einsum('ij,kj->ik', x, x)", "lin(x) + x[:, :3]", "lin(x) * 2",
    "lin(x).softmax(-1)", "lin(x).exp()", "F.layer_norm(lin(x), (3,))", "F.gelu(lin(x))",
    "F.cross_entropy(lin(x), lib.tensor([0, 1]))",
    "F.cross_entropy(lin(x), x[:, :3].exp())", "F.mse_loss(lin(x), x[:, :3])",
    "F.scaled_dot_product_attention(x[None], x[None], x[None])", "x.double() @ x.double().T",
    "lin(x).sum()", "lin(x).mean()", "lin(x).log_softmax(-1)", "x.tanh()", "F.relu(lin(x)) ** 2",
    "lib.cat([lin(x), x[:, :3]])",
]  # fmt: skip


@pytest.mark.parametrize("line", INSIDE)
def test_dtypes_inside_autocast(line):
    found = []
    for lib in (torch, tl):
        lib.manual_seed(0)
        names = {
            "lib": lib,
            "F": lib.nn.functional,
            "lin": lib.nn.Linear(4, 3),
            "x": lib.randn(2, 4),
        }
        with lib.autocast("cpu", dtype=lib.bfloat16):
            y = eval(line, names)
        found.append((str(y.dtype), y.float().tolist()))
    assert found[0][0] == found[1][0]
    torch.testing.assert_close(
        torch.tensor(found[1][1]), torch.tensor(found[0][1]), rtol=0.03, atol=0.03
    )


def test_the_scale_moves_as_pytorchs():
    def states(lib):
        p = lib.nn.Parameter(lib.ones(2))
        optimizer = lib.optim.SGD([p], lr=0.1)
        scaler = lib.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
        for gradient in (1.0, 2.0, float("inf"), 1.0, float("nan"), 3.0, 3.0, 3.0):
            scaler.scale((p * gradient).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            yield scaler.state_dict(), [round(x, 6) + 0.0 for x in p.tolist()]

    assert list(states(tl)) == list(states(torch))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_pytorch_is_refused(tmp_path, zipped):
    path = tmp_path / "model.pt"
    state = torch.nn.Linear(2, 3).state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="got one of PyTorch"):
        tl.load(path)
