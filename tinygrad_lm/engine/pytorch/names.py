"""What PyTorch prints as a tensor's `grad_fn`. A node carries the name of an op or of a function,
and the table below is read when it is printed, never while computing."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..core.graph import Node
from ..core.tensor import Tensor

P = ParamSpec("P")
Result = TypeVar("Result", bound="Tensor | tuple[Tensor, ...]")

# Where PyTorch's name does not follow from ours as LogSoftmaxBackward0 does from log_softmax.
PRINTED = {
    # ops
    "astype": "ToCopyBackward0",
    "batch_norm": "NativeBatchNormBackward0",
    "broadcast_to": "ExpandBackward0",
    "clamp": "ClampBackward1",
    "concatenate": "CatBackward0",
    "contiguous": "CloneBackward0",
    "conv_transpose": "ConvolutionBackward0",
    "dropout": "MulBackward0",
    "layer_norm": "NativeLayerNormBackward0",
    "matmul": "MmBackward0",
    "norm": "LinalgVectorNormBackward0",
    "pad": "ConstantPadNdBackward0",
    "repeat": "ViewBackward0",
    "reshape": "ViewBackward0",
    "rms_norm": "MulBackward0",
    "square": "PowBackward0",
    "swapaxes": "TransposeBackward0",
    "take": "IndexSelectBackward0",
    "take_along_axis": "GatherBackward0",
    "tile": "RepeatBackward0",
    "transpose": "PermuteBackward0",
    # functions
    "cross": "LinalgCrossBackward0",
    "fill": "FillBackward2",
    "logsigmoid": "LogSigmoidBackward0",
    "narrow": "SliceBackward0",
    "prelu": "PreluKernelBackward0",
    "rdiv": "MulBackward0",
    "rrelu": "RreluWithNoiseBackward0",
    "rsub": "RsubBackward1",
    "selu": "EluBackward0",
}


def grad_fn_name(name: str) -> str:
    """PyTorch's name for a node's. One that begins with a capital is PyTorch's already."""
    if name[:1].isupper():
        return name
    return PRINTED.get(name) or "".join(word.title() for word in name.split("_")) + "Backward0"


def one_op(function: Callable[P, Result]) -> Callable[P, Result]:
    """Declare a function that is one op in PyTorch, and made of others here: the nodes of what it
    returns carry its name instead of the name of the last op inside."""
    name = function.__name__

    @wraps(function)
    def renaming(*args: P.args, **kwargs: P.kwargs) -> Result:
        out = function(*args, **kwargs)
        for tensor in out if isinstance(out, tuple) else (out,):
            if tensor.node is not None:
                tensor.node.name = name
        return out

    return renaming


def named(out: Tensor, name: str) -> Tensor:
    """For names that depend on the arguments: PyTorch counts the forms of a function, as in
    SumBackward0 for all elements and SumBackward1 along `dim`."""
    if out.node is not None:
        out.node.name = name
    return out


def _text(node: Node) -> str:
    return f"<{grad_fn_name(node.name)}>"


Node.__repr__ = _text  # type: ignore[method-assign, assignment]
