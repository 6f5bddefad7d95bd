"""The names that surveys of public scripts found missing, by rank of use: each is here, or it is
refused with a sentence. What is missing still is listed, and the list may only become shorter."""

import pytest

from tinygrad_lm.as_torch import refused
from tinygrad_lm.as_torch.coverage import exists

ASKED = {
    "torch": """
        LongTensor FloatTensor ByteTensor bfloat16 int8 int16 finfo functional cumprod isin logspace
        version polar view_as_real view_as_complex preserve_format accelerator trapezoid tan cosh
        sinh asin atan2 cummax scatter_reduce index_copy index_fill masked_scatter take diag_embed
        tensor_split argwhere nan_to_num logaddexp cdist searchsorted bucketize histc kthvalue
        quantile scalar_tensor kron tensordot tril_indices use_deterministic_algorithms save func
        erfinv cartesian_prod jagged detach fill real binomial cpu GradScaler relu_ layer_norm
        as_strided bitwise_left_shift bitwise_right_shift
    """,
    "torch.Tensor": """
        resize_ get_device new unsqueeze_ index_fill_ unfold as_strided cumprod cummax
        scatter_reduce scatter index_put_ index_copy masked_scatter take fill_diagonal_ diag_embed
        tensor_split argwhere nan_to_num logaddexp kthvalue quantile sign_ record_stream
        __lshift__ __rshift__
    """,
    "torch.nn": """
        Conv2d Conv1d Conv3d ConvTranspose2d MaxPool2d AvgPool2d BatchNorm2d GroupNorm KLDivLoss
        SmoothL1Loss Unfold ZeroPad2d Hardswish Transformer TransformerEncoderLayer ParameterDict
        DataParallel LazyLinear LazyConv2d LazyBatchNorm2d
    """,
    "torch.nn.functional": """
        conv1d conv2d interpolate unfold pad kl_div smooth_l1_loss huber_loss cosine_similarity
        gumbel_softmax gaussian_nll_loss glu mish hardtanh relu6 selu softmax cross_entropy
    """,
    "torch.nn.init": "dirac_",
    "torch.nn.Module": "register_full_backward_hook load_state_dict",
    "torch.nn.parallel": "scatter DistributedDataParallel",
    "torch.nn.utils": "clip_grad_norm weight_norm spectral_norm parametrizations",
    "torch.nn.utils.rnn": "pack_padded_sequence pad_packed_sequence pad_sequence",
    "torch.nn.attention": "sdpa_kernel flex_attention",
    "torch.nn.attention.SDPBackend": "EFFICIENT_ATTENTION FLASH_ATTENTION MATH CUDNN_ATTENTION",
    "torch.nn.attention.flex_attention": "flex_attention create_block_mask",
    "torch.autograd": "Variable functional set_detect_anomaly grad graph profiler",
    "torch.autograd.function": "Function FunctionCtx once_differentiable",
    "torch.func": "grad vmap functional_call",
    "torch.utils.checkpoint": "checkpoint get_device_states set_device_states",
    "torch.utils._pytree": "tree_map tree_flatten tree_unflatten",
    "torch.distributions": "Categorical Normal MultivariateNormal",
    "torch.distributed": "all_gather scatter reduce_scatter is_mpi_available",
    "torch.distributed.ReduceOp": "AVG SUM MAX",
    "torch.optim": "Adagrad Adadelta NAdam LBFGS swa_utils",
    "torch.optim.optimizer": "required Optimizer",
    "torch.optim.lr_scheduler": """
        ReduceLROnPlateau ConstantLR CosineAnnealingWarmRestarts ChainedScheduler PolynomialLR
        _LRScheduler
    """,
    "torch.cuda": "max_memory_allocated Event memory_summary _initialized",
    "torch.cuda.amp.grad_scaler": "GradScaler",
    "torch.backends.cuda": "sdp_kernel",
    "torch.xpu": "is_available",
    "torch.random": "fork_rng",
    "torch.testing": "assert_close",
    "torch.special": "expm1 ndtr",
    "torch.linalg": "norm qr svd inv",
    "torch.profiler": "profile",
    "torch.onnx": "export",
    "torch.nested": "nested_tensor",
}
NAMES = [f"{where}.{name}" for where, names in ASKED.items() for name in names.split()]
MISSING = {"torch.binomial", "torch.distributions.MultivariateNormal"}


@pytest.mark.parametrize("name", NAMES)
def test_here_or_refused_with_a_sentence(name):
    state = "here" if exists(name) else "refused" if refused.why(name) else "missing"
    assert (state == "missing") == (name in MISSING), state


def test_what_is_refused_is_not_what_was_asked_for_most():
    found = [name for name in NAMES if not exists(name) and name not in MISSING]
    assert found == [
        "torch.polar", "torch.view_as_real", "torch.view_as_complex", "torch.jagged",
        "torch.Tensor.record_stream", "torch.nn.parallel.scatter",
        "torch.nn.attention.flex_attention.flex_attention",
        "torch.nn.attention.flex_attention.create_block_mask",
        "torch.onnx.export", "torch.nested.nested_tensor",
    ]  # fmt: skip


def test_a_family_is_refused_by_the_names_that_pytorch_has():
    assert "through MPI" in refused.why("torch.distributed.TCPStore")
    assert refused.why("torch.distributed.TCPStores") is None
    assert refused.why("torch.cuda.is_availabel") is None
