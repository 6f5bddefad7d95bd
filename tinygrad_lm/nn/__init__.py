"""Layers, their functions and first values, under PyTorch's names and import paths. This page
only collects them; what few scripts use is loaded on first use."""

import importlib
import typing

from . import functional, init, parameter, utils
from .activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .attention import MultiheadAttention
from .cells import GRUCell, LSTMCell, RNNCell
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .embeddings import Embedding, EmbeddingBag
from .layers import Bilinear, Dropout, Flatten, Identity, Linear, Unflatten
from .losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from .module import Module
from .norms import BatchNorm1d, LayerNorm, RMSNorm
from .parallel import DataParallel, SyncBatchNorm
from .parameter import Buffer, Parameter
from .recurrent import GRU, LSTM, RNN, RNNBase

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "Bilinear", "Buffer", "CrossEntropyLoss",
    "DataParallel", "Dropout", "ELU", "Embedding", "EmbeddingBag", "Flatten", "GELU", "GRU",
    "GRUCell", "Identity", "L1Loss", "LSTM", "LSTMCell", "LayerNorm", "LazyLinear", "LeakyReLU",
    "Linear", "LogSigmoid", "LogSoftmax", "MSELoss", "Module", "ModuleDict", "ModuleList",
    "MultiheadAttention", "NLLLoss", "Parameter", "ParameterDict", "ParameterList", "RMSNorm",
    "RNN", "RNNBase", "RNNCell", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Softplus",
    "SyncBatchNorm", "Tanh", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
    "TransformerEncoder", "TransformerEncoderLayer", "Unflatten", "UninitializedParameter",
    "functional", "init", "parameter", "utils",
]  # fmt: skip

_LATER = {name: "transformer" for name in __all__ if name.startswith("Transformer")} | {
    "LazyLinear": "lazy",
    "UninitializedParameter": "lazy",
}


def __getattr__(name: str) -> typing.Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
