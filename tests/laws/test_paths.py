"""Every path by which version 0.1.0 let something be imported still gives it, and what it gives is
the module of today, loaded once, whose own name and spec are unharmed."""

import base64
import importlib
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import tinygrad_lm as tl
from tinygrad_lm import aliases

ROOT = Path(__file__).parents[2]

# The modules of version 0.1.0 that are elsewhere now: their path, where they are, their names.
MOVED = """
amp: pages.amp: GradScaler autocast get_autocast_dtype is_autocast_enabled NARROW WIDE
backends: pages.backends: cuda cudnn mps get_float32_matmul_precision set_float32_matmul_precision
backends.cuda: pages.backends.cuda: is_built matmul
backends.cudnn: pages.backends.cudnn: allow_tf32 benchmark deterministic enabled
backends.mps: pages.backends.mps: is_available is_built
compiler: pages.compiler: compile disable is_compiling
cuda: pages.cuda: amp current_device device_count empty_cache get_device_capability get_device_name
    is_available is_bf16_supported manual_seed manual_seed_all memory_allocated set_device
    synchronize
cuda.amp: pages.cuda.amp: GradScaler autocast
distributed: pages.distributed: all_reduce barrier broadcast destroy_process_group get_backend
    get_rank get_world_size init_process_group is_available is_initialized
files: saving.files: Arrays StrPath check_writable fsync load_safetensors replacing save_safetensors
generation: text.generation: generate generate_text
nn.modules: nn: Linear Sequential
nn.modules.activation: nn: MultiheadAttention ReLU
nn.modules.batchnorm: nn: BatchNorm1d
nn.modules.container: nn: ModuleList ParameterDict
nn.modules.conv: nn: Module
nn.modules.dropout: nn: Dropout
nn.modules.linear: nn: Bilinear Linear
nn.modules.loss: nn: MSELoss
nn.modules.module: nn.module: Module register_module_forward_hook
nn.modules.normalization: nn: LayerNorm
nn.modules.pooling: nn: Module
nn.modules.rnn: nn: LSTM RNNBase
nn.modules.sparse: nn: Embedding EmbeddingBag
nn.modules.transformer: nn: TransformerEncoderLayer
linalg: engine.pytorch.linalg: LinAlgError cholesky cond det eigh eigvalsh inv lstsq matrix_norm
    norm pinv qr slogdet solve svd svdvals vector_norm
saving: saving: check_writable load_checkpoint load_safetensors replacing save_checkpoint
    save_safetensors
optim.lr_scheduler.closed_forms: optim.lr_scheduler.rules: CosineAnnealingLR ExponentialLR LambdaLR
    LinearLR MultiStepLR StepLR WarmupCosine warmup_cosine
serialization: saving.torch_save: load save FORMAT VERSION
study: look.study: LayerStats LearningRates activation_stats attention_maps lr_finder summary
tokenizers: text.tokenizers: CharTokenizer FORMAT FORMAT_VERSION KINDS load_tokenizer
torch_version: pages.version: TorchVersion
utils: pages.utils: data tensorboard
utils.checkpoint: engine.pytorch.checkpointing: checkpoint checkpoint_sequential
utils.data: data: BatchSampler ConcatDataset DataLoader Dataset DistributedSampler IterableDataset
    RandomSampler Sampler SequentialSampler Subset SubsetRandomSampler TensorDataset
    WeightedRandomSampler dataloader dataset default_collate default_convert distributed
    get_worker_info random_split sampler
utils.data.dataloader: data.loader: DataLoader default_collate default_convert get_worker_info
utils.data.dataset: data.datasets: ConcatDataset Dataset IterableDataset Subset TensorDataset
    random_split
utils.data.distributed: data.samplers: DistributedSampler
utils.data.sampler: data.samplers: BatchSampler RandomSampler Sampler SequentialSampler
    SubsetRandomSampler WeightedRandomSampler
utils.tensorboard: pages.utils.tensorboard: SummaryWriter
version: pages.version: cuda debug git_version hip
viz: look.viz: new_figure pca plot_attention plot_boundary plot_counts plot_embeddings plot_lines
    plot_lr_finder plot_stats save_loss_curve
"""
# Those that are where they were.
STAYED = """
as_torch autograd cli data data.corpora data.datasets data.loader data.samplers data.token_files
engine engine.drawing engine.gradcheck micrograd models models.checkpoints models.gpt nn
nn.activations nn.attention nn.cells nn.containers nn.functional nn.functional.activations
nn.functional.ids nn.functional.layers nn.functional.losses nn.init nn.layers nn.losses nn.module
nn.norms nn.parallel nn.parameter nn.recurrent nn.tree nn.utils optim optim.adam optim.flat
optim.lr_scheduler optim.lr_scheduler.base optim.lr_scheduler.one_cycle optim.optimizer
optim.rmsprop optim.sgd training training.config training.console training.run training.trainer
"""


def table():
    """Those of version 0.1.0 with their names, and PyTorch's paths that came later."""
    entries = [line.split(": ") for line in MOVED.strip().replace("\n    ", " ").splitlines()]
    first = {old: (new, names.split()) for old, new, names in entries}
    later = {old: (new, []) for old, new in aliases.PYTORCH.items()}
    return [(old, *rest) for old, rest in (later | first).items()]


def fresh(program, *options):
    """What a new interpreter prints; nothing of the package is loaded in it."""
    command = [sys.executable, *options, *(["-c", program] * bool(program))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def complaints(entries):
    """What is wrong with these paths, each imported first by its old name."""
    program = f"""
import importlib, sys
for old, new, names in {entries!r}:
    try:
        module = importlib.import_module(f"tinygrad_lm.{{old}}")
        exec(f"import tinygrad_lm.{{old}} as found; assert found is module")
        new = f"tinygrad_lm.{{new}}"
        assert module.__name__ == module.__spec__.name == new, module.__spec__
        assert importlib.import_module(new) is module, f"{{new}} is another module"
        for name in names:
            getattr(module, name)
    except Exception as error:
        print(old, type(error).__name__, error)
files = {{}}
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None) or ""
    if "tinygrad_lm" in file and files.setdefault(file, module) is not module:
        print(file, "is loaded twice")
"""
    done = fresh(program)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_moved_path_is_the_module_of_today():
    assert complaints(table()) == []
    assert complaints(table()[::-1]) == []


def test_every_other_path_is_still_there():
    assert complaints([(name, name, []) for name in STAYED.split()]) == []


def test_a_path_or_a_name_that_is_gone_is_noticed():
    found = complaints([("lost", "lost", []), ("viz", "look.study", []), ("viz", "look.viz", "x")])
    assert [line.split()[:2] for line in found] == [
        ["lost", "ModuleNotFoundError"], ["viz", "AssertionError"], ["viz", "AttributeError"],
    ]  # fmt: skip


def test_no_entry_of_the_table_is_untested_or_hides_a_file():
    tested = {old for old, _, _ in table()}
    assert {n for n in aliases.MOVED if "engine." not in n} <= tested
    for name, place in {**aliases.PYTORCH, **aliases.MOVED}.items():
        below = ROOT / "tinygrad_lm" / name.replace(".", "/")
        assert not below.with_suffix(".py").exists() and not (below / "__init__.py").exists()
        assert importlib.import_module(f"tinygrad_lm.{place}")


def test_attributes_and_from_imports():
    from tinygrad_lm.utils.data import DataLoader
    from tinygrad_lm.utils.data.dataset import TensorDataset

    assert tl.utils.data.DataLoader is DataLoader is tl.data.loader.DataLoader
    assert tl.utils.data.dataset.TensorDataset is TensorDataset
    assert tl.cuda.amp.autocast.__mro__[1] is tl.amp.autocast
    assert tl.utils.tensorboard.SummaryWriter and tl.backends.cuda.matmul


def test_what_is_below_an_alias_moves_along_and_what_is_not_there_is_said_by_its_name():
    assert importlib.import_module("tinygrad_lm.utils.data.corpora") is tl.data.corpora
    with pytest.raises(ModuleNotFoundError, match=r"tinygrad_lm\.cuda\.nothing"):
        importlib.import_module("tinygrad_lm.cuda.nothing")
    with pytest.raises(ModuleNotFoundError, match="is not a package"):
        importlib.import_module("tinygrad_lm.viz.nothing")


def test_a_module_can_be_loaded_again_and_says_where_it_runs():
    program = """
import importlib, tinygrad_lm.tokenizers as t
again = importlib.reload(t)
print(again is t, t.__name__, t.__spec__.name)
"""
    real = "tinygrad_lm.text.tokenizers"
    assert fresh(program).stdout.split() == ["True", real, real]
    done = fresh("", "-m", "tinygrad_lm.tokenizers")
    assert done.returncode == 1 and f"try {real}\n" in done.stderr


def test_a_second_name_costs_nothing_until_it_is_used():
    loaded = fresh("import sys, tinygrad_lm; print(*sys.modules)").stdout.split()
    assert "tinygrad_lm.aliases" in loaded
    assert not {"tinygrad_lm.viz", "tinygrad_lm.look.viz", "tinygrad_lm.utils"} & set(loaded)


# A pickle that version 0.1.0 wrote: a parameter, tensors, a dtype, a device, a Size, and more.
PICKLE = (
    "c-rk&>vG&Q6!vb?rl`<{axM2ufi0J%mjDF{S!iLQrb|%*m`gFTt&L5*wm(@;vdrvE`(xAesrn-?z$5Soya61^PKJ~W"
    "Pq5aEEuC|8^yz$_Ip3}J1Ww0mIgYc5R;ZI~yrx9tr=zaS){;zilT1sM7tB{OsFE~dXm<|8Wm&fnN{l4Mu^am{%!OGs"
    "D#l$u%$4kps#GUJDKR#g!aOUrszS{$Ux%?Qs=YYkI#V1CX<H=2lF7_W7#1wZ0LQ$e^i2gpIFARm!8nfJ!GjzRb=;QQ"
    "p5jE4Fw*0K_MP<F6hB<T;@zD)c$ni<$DOmeF5{8GU~uhkdhE+}G#(A^#tR;E%(HuI*}m~uOy@k#@r1^c!Hzda*088>"
    "TH`5>r){n+JQLqnm!^JNW@WC}YW=~p@qBD=_*_h|pXYd?f&F4!BTX*hC4=;3jx&Tb{x8N?EXGBOZ8`PRZoYWcAbpLa"
    "qj8p^2;u7-Z+J(@XUl;%4})l3WnC~oBmRiwx4Z>Ywlo*|;stc4c$?##Eqx?6l2GFOVVMFEuFEW9bqvFWv$t_^Fu_vC"
    "Vo0(`ZsDDQH%|+T=iT^pwT<@zYblf8B`*C>5mzXH;eEI5&TZp^DL%Z7%a#tEuj8Ww8_6Ow3Rfk&5(~Auw`BO3FfC8e"
    ">sXpYa*B|C*b<-E`ilUc+PnKjPXB(1D|?JxHH>}6@p;2ozhSIe!WV|IFFCFq&X{W%J7%(*f7mefm0{{S$3Wxj`u2Vj"
    "mAJ8Y*f-`d&aq++i>6qO&zKzNh=JXEvoRa9F&ncn8@u<K=D)87?)T$c(`&xt_+G;cs=#*fG8Cy)_~Ag)6r+OmX})5e"
    "3_nt<{Aq%pJGOWEG7~{6Bi!7vDSVp)zw~>5)dzbgjCD=rn>zM~)Kzl@zu#+Mc_)q6D1>}C+;jihU;eXkFaB$@6`dO*"
    "g}DC5LcOu^Xk{dZLf|^yabwRnq#~KJNw~rZq8e$bWl@kthQ4o9D_zp}St&_x4sT*@ikKs*>b@HZE%4icIvA6E(T=i_"
    "ZddCi!#WiuonT}|LM=>6WTgJ$eQlSU=3Q{WH1F0FDn4bJ_q@GmuZPkQqB$y!jasH{a%@d8E`zH34^nDa#Q"
)


def test_pickles_of_the_first_version_are_read():
    found = pickle.loads(zlib.decompress(base64.b85decode(PICKLE)))
    assert type(found["w"]) is tl.nn.Parameter and found["w"].tolist() == [1.5, -2.0]
    assert type(found["x"]) is tl.Tensor and found["x"].tolist() == [1, 2]
    assert found["dtype"] is tl.float32 and found["device"] == tl.device("cpu")
    assert type(found["size"]) is tl.Size and found["size"] == (2, 3)
    assert found["tok"].decode([1, 0]) == "ba" and type(found["scaler"]) is tl.amp.GradScaler
    assert type(found["data"]) is tl.utils.data.TensorDataset and found["data"][0][0].item() == 3
