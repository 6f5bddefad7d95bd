"""Old tensor types, small integers, memory formats and `torch.testing` on a GPU, or where one is
emulated."""

import pytest

import tinygrad_lm as tg

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


def test_old_types_say_where():
    x = tg.cuda.FloatTensor([1, 2])
    assert x.type() == "torch.cuda.FloatTensor" and str(x.device) == "cuda:0"
    assert isinstance(x, tg.cuda.FloatTensor) and not isinstance(x, tg.FloatTensor)
    assert x.type(tg.LongTensor).device.type == "cpu" and x.new(2).device == x.device
    assert x.cpu().type("torch.cuda.IntTensor").type() == "torch.cuda.IntTensor"
    assert x.get_device() == 0 and tg.version.cuda.count(".") == 1
    assert str(tg.accelerator.current_accelerator()) == "cuda"


@pytest.mark.parametrize("kind", [tg.int8, tg.int16], ids=str)
def test_small_integers(kind):
    x = tg.tensor([[100, -2], [3, 4]], dtype=kind)
    y = x.to("cuda")
    for f in (
        lambda z: z.sum(), lambda z: z + z.long()[0, 0], lambda z: z * 100, lambda z: z @ z.T,
        lambda z: z.max(1).values, lambda z: z.cumsum(1), lambda z: z / 2, lambda z: z**2,
        lambda z: z.sort(1).values, lambda z: z.clamp(-1, 1), lambda z: z.abs(), lambda z: z.exp(),
    ):  # fmt: skip
        want, got = f(x), f(y)
        tg.testing.assert_close(got, want, check_device=False)
        assert str(got.device) == "cuda:0"
    with pytest.raises(IndexError, match=rf"got int{8 * kind.itemsize}; use long"):
        y[y[0]]


def test_memory():
    x = tg.arange(6, device="cuda")
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]] and x.nbytes == 32
    assert tg.arange(3, device="cuda").resize_(4).tolist() == [0, 1, 2, 0]
    assert x.is_set_to(x.view(4).view(2, 2)) and not x.is_set_to(x.clone())
    b = tg.rand(1, 2, 3, 4, device="cuda")
    for made in (
        b.contiguous(memory_format=tg.channels_last),
        tg.empty_like(b, memory_format=tg.channels_last),
    ):
        assert made.stride() == (24, 1, 8, 2)
    assert (b.clone(memory_format=tg.channels_last) == b).all()
    with pytest.raises(TypeError, match=r"\[apply_\] .* on the cpu"):
        x.apply_(abs)


def test_normal_and_index_errors():
    mean = tg.zeros(2, device="cuda", requires_grad=True)
    out = tg.normal(mean, tg.ones(2, device="cuda"))
    out.sum().backward()
    assert str(out.device) == "cuda:0" and mean.grad.tolist() == [0, 0]
    x = tg.ones(3, 4, device="cuda")
    with pytest.raises(IndexError, match="shapes that broadcast"):
        x[tg.arange(3), tg.arange(2)]


def test_close_says_where():
    x = tg.ones(2, device="cuda")
    tg.testing.assert_close(x, x.clone())
    with pytest.raises(AssertionError, match="'device' do not match: cuda:0 != cpu"):
        tg.testing.assert_close(x, x.cpu())
    with pytest.raises(AssertionError, match="Mismatched elements: 2 / 2"):
        tg.testing.assert_close(x, x + 1)


def test_the_streams_of_gpus_are_forked():
    state = tg.cuda.get_rng_state()
    with tg.random.fork_rng():
        tg.cuda.manual_seed(3)
    assert tg.equal(tg.cuda.get_rng_state(), state)


def test_a_module_comes_back_where_it_was(tmp_path):
    tg.save(tg.nn.Linear(2, 2).cuda(), tmp_path / "f")
    assert tg.load(tmp_path / "f", weights_only=False).weight.is_cuda
    assert not tg.load(tmp_path / "f", map_location="cpu", weights_only=False).weight.is_cuda


def test_the_default_tensor_type():
    tg.set_default_tensor_type("torch.cuda.DoubleTensor")
    try:
        assert tg.ones(1).type() == "torch.cuda.DoubleTensor"
    finally:
        tg.set_default_tensor_type(tg.FloatTensor)
    assert tg.ones(1).type() == "torch.FloatTensor"
