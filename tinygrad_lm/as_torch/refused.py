"""What PyTorch has and this project leaves out on purpose: a sentence for each, which says why and
what to use instead. A module of these can be imported, as many scripts do without using it."""

from __future__ import annotations

import fnmatch
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from .names import is_nowhere

# Modules, with all that is below them: they can be imported, and using what is in them is refused.
MODULES = {
    "torch.jit": "there is no second language to compile to here; call the function or module "
    "itself, and leave the decorator out",
    "torch.fx torch.export torch.library torch.overrides": "no program is recorded, rewritten or "
    "intercepted here; call the module itself, and write an op of your own as autograd.Function",
    "torch.onnx torch.package": "a model is code and a file of weights here; write the weights "
    "with torch.save or tinygrad_lm.saving.save_safetensors",
    "torch.hub": "code of others is not downloaded and run; load weights with "
    "tinygrad_lm.saving.load_safetensors, GPT-2's with tinygrad_lm.models",
    "torch.distributed.fsdp torch.distributed.rpc torch.distributed.tensor "
    "torch.distributed.pipelining torch.distributed.elastic torch.distributed.checkpoint": "each "
    "process has the whole model here; wrap it in nn.parallel.DistributedDataParallel, and share "
    "the optimizer's state out with distributed.optim.ZeroRedundancyOptimizer",
    "torch.distributed.nn torch.distributed.algorithms": "what processes tell each other has no "
    "gradient here but in nn.SyncBatchNorm, and all take as many steps; a DistributedSampler "
    "gives each of them as many items",
    "torch.sparse": "tensors are dense here; of the sparse there is only the gradient of "
    "nn.Embedding(sparse=True)",
    "torch.quantization torch.ao torch.nn.quantized torch.nn.quantizable torch.nn.qat "
    "torch.nn.intrinsic": "weights are floating-point numbers here; torch.bfloat16 takes half the "
    "memory of float32",
    "torch.nested torch.masked": "a tensor has one shape here, and all its elements count; pad "
    "(nn.utils.rnn.pad_sequence) and give a mask",
    "torch.nn.attention.flex_attention": "scores of one's own are written out, or added as the "
    "attn_mask of scaled_dot_product_attention",
    "torch.autograd.forward_ad": "gradients go backward here; torch.func.jvp gives the product",
    "torch.nn.utils.prune": "weights stay here; multiply by a mask of your own with "
    "nn.utils.parametrize",
    "torch.utils.benchmark": "use Python's timeit, on a GPU with torch.cuda.synchronize() in the "
    "statement",
    "torch.xpu torch.mps torch.mtia": "the devices are 'cpu' and, with CuPy, 'cuda'",
    "torch.fft torch.signal": "numbers are real here; use numpy.fft on tensor.numpy()",
    "torch.utils.cpp_extension": "code in C++ or CUDA of a script's own is not built here; write "
    "the op in Python as autograd.Function",
}
# Names elsewhere: they are not there, so that hasattr() says so, and the error has the sentence.
NAMES = {
    "torch.complex torch.complex32 torch.chalf "
    "torch.view_as_complex torch.view_as_real torch.polar torch.stft torch.istft "
    "torch.functional.stft torch.functional.istft torch.imag torch.angle torch.Tensor.cfloat "
    "torch.Tensor.cdouble torch.Tensor.chalf torch.Tensor.imag torch.Tensor.angle "
    "torch.Tensor.stft torch.Tensor.istft": "numbers are real here; keep both parts in a last axis "
    "of 2, and multiply with cos and sin",
    "torch.sparse_*_tensor torch.sspaddmm torch.hspmm torch.smm torch.sparse_cs? "
    "torch.Tensor.to_sparse torch.Tensor.to_sparse_coo torch.Tensor.to_sparse_csr "
    "torch.Tensor.to_sparse_csc torch.Tensor.to_sparse_bsr torch.Tensor.to_sparse_bsc "
    "torch.Tensor.coalesce torch.Tensor.is_coalesced torch.Tensor.values torch.Tensor.indices "
    "torch.Tensor.crow_indices torch.Tensor.col_indices torch.Tensor.sparse_dim "
    "torch.Tensor.sparse_mask torch.Tensor.dense_dim torch.Tensor.sspaddmm torch.Tensor.smm": "a "
    "tensor is dense here; of the sparse there is only the gradient of nn.Embedding(sparse=True)",
    "torch.quantize_per_* torch.quantized_* torch.fake_quantize_* torch.qint* torch.quint* "
    "torch.int_repr torch.q_* torch.per_channel_* torch.per_tensor_* torch.dequantize "
    "torch.Tensor.dequantize torch.Tensor.int_repr torch.Tensor.q_scale "
    "torch.Tensor.q_zero_point torch.Tensor.qscheme": "weights "
    "are floating-point numbers here; torch.bfloat16 takes half the memory of float32",
    "torch.float4_* torch.float8_* torch.int[1-7] torch.uint[1-7] torch.bits* torch.bit": "the "
    "smallest numbers here have 8 bits, those with a point 16; use torch.bfloat16",
    "torch.Tensor.refine_names torch.Tensor.rename torch.Tensor.rename_ torch.Tensor.align_to "
    "torch.Tensor.align_as torch.Tensor.names": "axes have numbers here and no names; use permute "
    "and einsum",
    "torch.*Storage torch.cuda.*Storage torch.Tensor.untyped_storage "
    "torch.Tensor.storage_type": "the memory of a tensor is an array of NumPy's or CuPy's; "
    "tensor.numpy() shares it",
    "torch.Tensor.ipu torch.Tensor.xpu torch.Tensor.mtia torch.nn.Module.ipu torch.nn.Module.xpu "
    "torch.nn.Module.mtia": "the devices are 'cpu' and, with CuPy, 'cuda'",
    "torch.jagged torch.Tensor.to_padded_tensor": "a tensor has one shape here, and all its "
    "elements count; pad (nn.utils.rnn.pad_sequence) and give a mask",
    "torch.Tensor.record_stream": "memory goes back to the pool of the stream it was made on; "
    "synchronize before another stream uses it",
    "torch.SymInt torch.SymFloat torch.SymBool torch.cond": "no program is recorded here, so "
    "numbers are Python's, and a choice is Python's `if`",
    "torch.binary_cross_entropy_with_logits torch.cosine_embedding_loss torch.kl_div "
    "torch.hinge_embedding_loss torch.margin_ranking_loss torch.poisson_nll_loss "
    "torch.triplet_margin_loss": "PyTorch keeps it here with a number for `reduction`; call the "
    "function of this name in nn.functional",
    "torch.nn.functional.scaled_mm torch.nn.functional.grouped_mm torch.nn.functional.ScalingType "
    "torch.nn.functional.SwizzleType torch.nn.functional.scaled_grouped_mm": "the smallest numbers "
    "here with a point have 16 bits; use matmul with torch.bfloat16",
    "torch.nn.parallel.scatter torch.nn.parallel.gather torch.nn.parallel.replicate "
    "torch.nn.parallel.parallel_apply": "one device does the work "
    "here; call the module itself, or wrap it in nn.DataParallel, which does",
    "torch.cuda.CUDAGraph torch.cuda.graph torch.cuda.make_graphed_callables "
    "torch.cuda.graph_pool_handle": "a whole training step is recorded by tinygrad_lm.capture",
    "torch.ops torch.classes": "there are no ops of a second kind below those with a name; call "
    "the function itself",
    "torch.Tensor.to_mkldnn torch.Tensor.share_memory_ torch.Tensor.is_shared": "tensors stay in "
    "the memory of one process, in the order that NumPy gives them",
}
# Of these modules all that is not there, as far as PyTorch has it.
FAMILIES = {
    "torch.autograd.profiler torch.profiler": "torch.profiler.profile counts and times the ops; "
    "what works beside it is not here",
    "torch.backends.cuda torch.backends.mps torch.cpu torch.nn.attention": "it has nothing to act "
    "on here; leave it out",
    "torch.compiler torch.func": "no program is recorded, rewritten or compiled here; leave it out",
    "torch.cuda torch.accelerator": "the GPU is CuPy's; ask cupy.cuda for what is not here",
    "torch.distributed": "processes meet through MPI here (mpiexec); leave it out",
    "torch.special": "scipy.special has it, for tensor.numpy(), without a gradient",
    "torch.utils.checkpoint": "a part is computed again as a whole: checkpoint(function, *args)",
    "torch.utils.data": "pipes of data have left PyTorch for torchdata; write a Dataset or an "
    "IterableDataset",
}
# Questions to these modules that have an answer.
ANSWERS = {
    "torch.mps.device_count": 0,
    "torch.xpu.device_count": 0,
    "torch.xpu.is_available": False,
    "torch.mtia.is_available": False,
    "torch.jit.is_scripting": False,
    "torch.jit.is_tracing": False,
    "torch.onnx.is_in_onnx_export": False,
}
PLACES = {name: sentence for names, sentence in MODULES.items() for name in names.split()}
SURROUNDINGS = {name: sentence for names, sentence in FAMILIES.items() for name in names.split()}
PATTERNS = {name: sentence for names, sentence in NAMES.items() for name in names.split()}


def module(name: str) -> str | None:
    """The sentence about a module that can be imported and not used, or None."""
    while name and name not in PLACES:
        name = name.rpartition(".")[0]
    return PLACES.get(name)


def why(name: str) -> str | None:
    """The sentence about a dotted name, or None where nothing was decided about it."""
    found = (sentence for pattern, sentence in PATTERNS.items() if fnmatch.fnmatch(name, pattern))
    if sentence := module(name) or next(found, None):
        return sentence
    family = SURROUNDINGS.get(name.rpartition(".")[0])
    return family if family and not is_nowhere(name) else None


class Refused:
    """Stands for what is in a refused module: it can be imported, and asked about with isinstance;
    NotImplementedError where it is called or inherited from."""

    def __init__(self, name: str):
        self.name = name

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"[{self.name}] {why(self.name)}")

    __call__ = __getitem__ = __enter__ = __mro_entries__ = __iter__ = _refuse

    def __getattr__(self, attribute: str) -> NoReturn:
        raise AttributeError(f"[{self.name}.{attribute}] {why(self.name)}")

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __exit__(self, *args: Any) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{self.name}, refused: {why(self.name)}>"


class Method:
    """A method of Tensor that is refused: not there, and the AttributeError says why."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, tensor: object, owner: type) -> NoReturn:
        raise AttributeError(f"[{self.name}] {why(self.name)}")


class Shell(Loader):
    """Makes an empty module whose every public name is Refused."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        made = ModuleType(spec.name, module(spec.name))

        def inside(attribute: str) -> Any:
            name = f"{spec.name}.{attribute}"
            if attribute.startswith("_"):
                raise AttributeError(f"module {spec.name!r} has no attribute {attribute!r}")
            return (lambda: ANSWERS[name]) if name in ANSWERS else Refused(name)

        made.__getattr__ = inside  # type: ignore[method-assign]
        return made

    def exec_module(self, module: ModuleType) -> None:
        pass
