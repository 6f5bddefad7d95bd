"""Functions of images on a GPU: the same values and gradients as on the CPU, and the result stays
there."""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.nn import functional as F

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]

CALLS = {
    "conv1d": lambda x, w: F.conv1d(x[0].transpose(0, 1), w[:, :, 0]),
    "conv2d": lambda x, w: F.conv2d(x, w, w[:, 0, 0, 0], stride=(2, 1), padding=1),
    "conv2d same": lambda x, w: F.conv2d(x, w[..., :2, :], padding="same"),
    "conv_transpose2d": lambda x, w: F.conv_transpose2d(x[:, :2], w, stride=2, output_padding=1),
    "unfold": lambda x, w: F.unfold(x, 2, padding=1),
    "Tensor.unfold": lambda x, w: x.unfold(2, 2, 1) * 2,
    "as_strided": lambda x, w: x.as_strided((3, 4), (1, 2)),
    "fold": lambda x, w: F.fold(F.unfold(x, 2), (4, 5), 2),
    "max_pool2d": lambda x, w: F.max_pool2d(x, 2, 1, 1, ceil_mode=True),
    "max_pool2d where": lambda x, w: F.max_pool2d(x, 2, return_indices=True),
    "avg_pool2d": lambda x, w: F.avg_pool2d(x, 2, 1, 1, True, False),
    "adaptive_avg_pool2d": lambda x, w: F.adaptive_avg_pool2d(x, (3, 2)),
    "adaptive_max_pool2d": lambda x, w: F.adaptive_max_pool2d(x, (3, 2)),
    "interpolate": lambda x, w: F.interpolate(x, (7, 3), mode="bicubic"),
    "nearest": lambda x, w: F.interpolate(x, scale_factor=2),
    "reflect": lambda x, w: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "circular": lambda x, w: F.pad(x, (1, 2, 0, 1), mode="circular"),
    "group_norm": lambda x, w: F.group_norm(x, 3),
    "instance_norm": lambda x, w: F.instance_norm(x),
    "local_response_norm": lambda x, w: F.local_response_norm(x, 2),
    "pixel_unshuffle": lambda x, w: F.pixel_unshuffle(x[..., :4], 2),
    "dropout2d": lambda x, w: F.dropout2d(x, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_as_on_the_cpu(name):
    found = []
    for device in ("cpu", "cuda"):
        rng = np.random.default_rng(0)
        x, w = (
            tg.tensor(rng.normal(size=s).astype("f4"), device=device, requires_grad=True)
            for s in ((2, 3, 4, 5), (2, 3, 3, 3))
        )
        out = CALLS[name](x, w)
        outputs = list(out) if isinstance(out, tuple) else [out]
        assert all(o.device.type == device for o in outputs)
        (outputs[0] * outputs[0]).sum().backward()
        found.append([*outputs, x.grad, w.grad])
    for here, there in zip(*found):
        assert (here is None) == (there is None)
        if here is not None:
            want = here.detach().numpy()
            np.testing.assert_allclose(there.detach().cpu().numpy(), want, 1e-5, 1e-5)
