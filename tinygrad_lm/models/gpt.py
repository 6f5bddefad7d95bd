"""GPT-2 as a module: embeddings, blocks of causal attention and MLP, a head tied to the embedding.

Names, initialisation and the order of random draws are nanoGPT's, so its weights fit and a seeded
model starts from the same numbers.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import repeat
from typing import Any

from .. import nn
from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation
from ..engine.pytorch.checkpointing import checkpoint
from ..engine.pytorch.common import Dtype
from ..nn import functional as F
from ..nn.functional.losses import unrounded_cross_entropy
from ..optim import AdamW
from ..saving.files import StrPath
from ..text.generation import generate
from . import pretrained
from .cache import KVCache, Past, seats
from .hub import find_pretrained

# Shapes: B batch, T time, C channels (n_embd), H heads, D head size, V vocabulary.

ACTIVATIONS = {  # by their names in a `config.json`
    "gelu": lambda: nn.GELU(),
    "gelu_new": lambda: nn.GELU("tanh"),  # GPT-2's own
    "relu": lambda: nn.ReLU(),
    "silu": lambda: nn.SiLU(),
}


@dataclasses.dataclass
class GPTConfig:
    """The shape of a GPT; the defaults are GPT-2 of 124 million parameters, its vocabulary padded.

    ValueError where the numbers make no model.
    """

    block_size: int = 1024  # the longest context, T
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True  # in linear layers and layer norms
    activation: str = "gelu"  # of the MLP; OpenAI's weights want "gelu_new"
    layer_norm_epsilon: float = 1e-5
    n_inner: int = 0  # width of the MLP; 0: four times n_embd

    def __post_init__(self) -> None:
        sizes = ("block_size", "vocab_size", "n_layer", "n_head", "n_embd")
        for name in sizes if self.n_inner == 0 else (*sizes, "n_inner"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"[GPTConfig] {name} must be a whole number >= 1, got {value!r}")
        if self.n_embd % self.n_head:
            below = next(
                n for n in range(min(self.n_head, self.n_embd), 0, -1) if self.n_embd % n == 0
            )
            message = f"[GPTConfig] n_head must divide n_embd, got {self.n_head} and {self.n_embd}"
            raise ValueError(f"{message}; try {below} heads, or {below * self.n_head} channels?")
        if not 0 <= self.dropout < 1:
            message = f"[GPTConfig] dropout must be in [0, 1), got {self.dropout}"
            raise ValueError(f"{message}; it is the share that is dropped")
        if self.activation not in ACTIVATIONS:
            message = f"[GPTConfig] activation must be one of {', '.join(ACTIVATIONS)}"
            raise ValueError(f"{message}, got {self.activation!r}; a typo?")
        if not 0 < self.layer_norm_epsilon < 1:
            message = "[GPTConfig] layer_norm_epsilon must be above 0 and below 1"
            raise ValueError(f"{message}, got {self.layer_norm_epsilon}; try 1e-5")


class LayerNorm(nn.Module):
    """Layer norm over the channels whose bias can be left out."""

    def __init__(self, ndim: int, bias: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(creation.ones(ndim))
        self.bias = nn.Parameter(creation.zeros(ndim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class CausalSelfAttention(nn.Module):
    """Every position gathers from itself and those before it, in H independent heads."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head, self.dropout = config.n_head, config.dropout

    def forward(self, x: Tensor, past: Past | None = None, mask: Tensor | None = None) -> Tensor:
        B, T, C = x.shape
        heads = (B, T, self.n_head, C // self.n_head)
        q, k, v = (  # each (B, H, T, D)
            part.view(*heads).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2)
        )
        if past is not None:
            k, v = past.extended(k, v)
        causal, dropped = mask is None and T > 1, self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropped, is_causal=causal)
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.c_proj(y))


class MLP(nn.Module):
    """Each position by itself: four times as wide, an activation, and back."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width = config.n_inner or 4 * config.n_embd
        self.c_fc = nn.Linear(config.n_embd, width, bias=config.bias)
        self.gelu = ACTIVATIONS[config.activation]()
        self.c_proj = nn.Linear(width, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.gelu(self.c_fc(x))))


class Block(nn.Module):
    """Attention, then MLP; each reads a normalised copy and adds its result to the stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.bias, config.layer_norm_epsilon)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = LayerNorm(config.n_embd, config.bias, config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, past: Past | None = None, mask: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), past, mask)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """The language model of Radford et al. (2019), "Language models are unsupervised multitask
    learners": logits for the token that follows each position.

    >>> model = GPT(GPTConfig(block_size=8, vocab_size=65, n_layer=1, n_head=1, n_embd=16))
    >>> logits, loss = model(idx, targets)  # both (B, T) int64
    """

    gradient_checkpointing = False  # True: less memory in training, and a third more time

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = dataclasses.replace(config)  # our own: crop_block_size changes it
        wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.transformer: Any = nn.ModuleDict(
            {
                "wte": wte,
                "wpe": nn.Embedding(config.block_size, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                "ln_f": LayerNorm(config.n_embd, config.bias, config.layer_norm_epsilon),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        # One matrix for reading and writing tokens (Press and Wolf, 2017, arXiv 1608.05859).
        wte.weight = self.lm_head.weight
        self.apply(self._init_weights)
        # 2 n_layer projections add to the stream; scaled down, their sum keeps its variance.
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * config.n_layer))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(
        self,
        idx: Tensor,
        targets: Tensor | None = None,
        cache: KVCache | None = None,
        padding: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(logits, loss) of ids idx (B, T), T <= block_size.

        With targets (B, T), -1 meaning "not counted": logits (B, T, V) and the mean cross-entropy
        in nats, float32 at least. Without: logits (B, 1, V) of the last position only, and None.
        cache: what was read before idx, which is added to it. padding (B,): how many of a row's
        first positions, those in the cache included, hold nothing: nobody looks at them, and the
        row begins after them.
        """
        T, past = idx.shape[1] if idx.ndim == 2 else 0, cache.length if cache else 0
        most = (cache.room if cache else self.config.block_size) - past
        if not 1 <= T <= most:
            message = f"[GPT] idx must be (B, T) with 1 <= T <= {most}"
            raise ValueError(f"{message}, got {tuple(idx.shape)}; idx[:, -block_size:]?")
        if targets is not None and targets.shape != idx.shape:
            message = f"[GPT] targets must have the shape of idx, {tuple(idx.shape)}"
            raise ValueError(f"{message}, got {tuple(targets.shape)}; the ids one place later?")
        positions, mask = seats(T, cache, padding, idx)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(positions))
        again = self.gradient_checkpointing and self.training and cache is None
        for block, layer in zip(self.transformer.h, cache or repeat(None)):
            x = checkpoint(block, x, layer, mask) if again else block(x, layer, mask)
        x = self.transformer.ln_f(x)  # (B, T, C)
        if targets is None:
            return self.lm_head(x[:, -1:]), None
        logits = self.lm_head(x)
        flat = logits.view(-1, logits.shape[-1])
        return logits, unrounded_cross_entropy(flat, targets.view(-1), ignore_index=-1)

    def generate(self, idx: Tensor, max_new_tokens: int, *args: Any, **options: Any) -> Tensor:
        """idx (B, T) continued by up to max_new_tokens ids; see `generation.generate`."""
        return generate(self, idx, max_new_tokens, *args, **options)

    @classmethod
    def from_pretrained(cls, place: StrPath, dropout: float = 0.0, dtype: Dtype = "float32") -> GPT:
        """The GPT of a folder with GPT-2's files, or of "gpt2", "gpt2-medium", "gpt2-large",
        "gpt2-xl" or "owner/name", which are downloaded once. Random streams stay where they are.
        dtype: of all weights. FileNotFoundError, OSError: there are none. ValueError: damaged, or
        of another model."""
        folder = find_pretrained(place)
        config = GPTConfig(**pretrained.read_config(folder), dropout=dropout)
        arrays = pretrained.read_weights(folder, dataclasses.asdict(config), dtype)
        with nn.init.without_values():
            model = cls(config)
        for name, parameter in model.named_parameters():
            parameter.data = creation.from_numpy(arrays.pop(name)).to(parameter.device)
        return model

    def save_pretrained(
        self,
        folder: StrPath,
        tokenizer: Any = None,
        vocab_size: int | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write GPT-2's files, from which transformers, and `from_pretrained`, make the same model;
        see `pretrained.write`. tokenizer: its tokenizer.json is written, too, if it is a BPE."""
        arrays = {n: p.detach().cpu().numpy() for n, p in self.named_parameters()}
        fields = dataclasses.asdict(self.config)
        pretrained.write(folder, fields, arrays, tokenizer, vocab_size, overwrite)

    def new_cache(self, batch: int, room: int) -> KVCache:
        """An empty memory of `batch` texts of at most `room` tokens, for `forward`."""
        c = self.config
        shape = (batch, c.n_head, min(room, c.block_size), c.n_embd // c.n_head)
        return KVCache(c.n_layer, shape, self.transformer.ln_f.weight)

    def store_weights(self, dtype: Dtype) -> GPT:
        """Keep the matrices in 16 bits, in half the memory; the rest, and the arithmetic, stays as
        it is. For writing, which is as fast as they are read; training wants `.to(dtype)`."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.to(dtype)
        return self

    def crop_block_size(self, block_size: int) -> None:
        """Shorten the longest context; make the optimiser afterwards."""
        if not 1 <= block_size <= self.config.block_size:
            message = f"[crop_block_size] it must be in 1..{self.config.block_size}"
            raise ValueError(f"{message}, got {block_size}; positions can be dropped, not invented")
        self.config.block_size = block_size
        positions = self.transformer.wpe
        positions.weight = nn.Parameter(positions.weight.detach()[:block_size].clone())
        positions.num_embeddings = block_size

    def configure_optimizers(
        self,
        weight_decay: float,
        learning_rate: float,
        betas: tuple[float, float],
        device_type: str | None = None,
    ) -> AdamW:
        """AdamW that decays matrices and embeddings but neither biases nor norms.

        device_type is taken for nanoGPT's sake and changes nothing: parameters have a device.
        """
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
        ]
        return AdamW(groups, lr=learning_rate, betas=betas)

    def get_num_params(self, non_embedding: bool = True) -> int:
        """How many parameters; without the position embeddings unless non_embedding is False."""
        total = sum(p.numel() for p in self.parameters())
        return total - self.transformer.wpe.weight.numel() if non_embedding else total

    def estimate_mfu(
        self, fwdbwd_per_iter: float, dt: float, flops_promised: float = 312e12
    ) -> float:
        """The share of flops_promised (by default an A100's bfloat16 peak) in use, when dt seconds
        do fwdbwd_per_iter sequences forward and backward: 6 N + 12 L C T operations per token
        (Chowdhery et al., 2022, arXiv 2204.02311, appendix B)."""
        c = self.config
        per_token = 6 * self.get_num_params() + 12 * c.n_layer * c.n_embd * c.block_size
        return per_token * c.block_size * fwdbwd_per_iter / dt / flops_promised
