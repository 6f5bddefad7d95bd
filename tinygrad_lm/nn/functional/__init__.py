"""What layers compute, as functions that take the parameters as arguments: PyTorch's names and
signatures over the engine's ops. Dropout's random masks are drawn here, and ids are checked."""

from ...engine.pytorch.indexing import one_hot
from ...engine.pytorch.shapes import pad
from .activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsigmoid,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from .embeddings import embedding, embedding_bag
from .layers import (
    batch_norm,
    bilinear,
    dropout,
    layer_norm,
    linear,
    normalize,
    rms_norm,
    scaled_dot_product_attention,
)
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    nll_loss,
)

__all__ = [
    "batch_norm", "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "cross_entropy", "dropout", "elu", "embedding", "embedding_bag", "gelu", "l1_loss",
    "layer_norm", "leaky_relu", "linear", "log_softmax", "logsigmoid", "mse_loss", "nll_loss",
    "normalize", "one_hot", "pad", "relu", "rms_norm", "scaled_dot_product_attention", "sigmoid",
    "silu", "softmax", "softplus", "tanh",
]  # fmt: skip
