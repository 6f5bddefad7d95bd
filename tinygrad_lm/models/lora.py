"""LoRA (Hu et al., 2021, arXiv 2106.09685): fine-tuning that leaves the weights W as they are and
learns a difference of low rank, (alpha / rank) B A, in some linear layers. It is kept in a folder
of its own, in the format of the library PEFT, or merged into the weights."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..engine.arrays import float32, promote_types
from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation
from ..engine.pytorch.grad_mode import no_grad
from ..nn import functional as F
from ..saving.files import (
    Arrays,
    StrPath,
    check_writable,
    load_safetensors,
    replacing,
    save_safetensors,
)

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."  # of PEFT's names
# Settings of PEFT by which the same A and B would mean something else.
OTHER_FORMS = ("use_rslora", "use_dora", "use_qalora", "use_bdlora", "kasa_config", "alpha_pattern")


@dataclasses.dataclass(frozen=True)
class Settings:
    """rank: columns of B and rows of A. alpha: the difference is scaled by alpha / rank. targets:
    the last parts of the names of linear layers. dropout: of their input, before A."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("c_attn",)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        alpha, dropout = self.alpha, self.dropout
        if type(self.rank) is not int or self.rank < 1:
            raise ValueError(f"[lora] rank must be a whole number >= 1, got {self.rank!r}; try 8?")
        if type(alpha) not in (int, float) or not 0 < alpha < math.inf:
            raise ValueError(f"[lora] alpha must be a number above 0, got {alpha!r}; twice rank?")
        if type(dropout) not in (int, float) or not 0 <= dropout < 1:
            message = f"[lora] dropout must be in [0, 1), got {dropout!r}"
            raise ValueError(f"{message}; it is the share that is dropped")
        if not self.targets or not all(isinstance(t, str) and t for t in self.targets):
            message = f"[lora] targets must be names of linear layers, got {self.targets!r}"
            raise ValueError(f'{message}; try ("c_attn",)?')


class LoRALinear(nn.Linear):
    """x W^T + b + (alpha / rank) dropout(x) A^T B^T, with A (rank, in) and B (out, rank).

    A Linear becomes one in place, and is one again when merged: so W and b keep their names, and
    whatever refers to the layer."""

    lora: Settings
    lora_A: nn.Parameter
    lora_B: nn.Parameter
    trained_before: list[nn.Parameter]  # of the whole model

    def forward(self, input: Tensor) -> Tensor:
        low = F.dropout(input, self.lora.dropout, self.training)
        low = F.linear(low, self.lora_A) * (self.lora.alpha / self.lora.rank)  # (..., rank)
        return F.linear(input, self.weight, self.bias) + F.linear(low, self.lora_B)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rank={self.lora.rank}, alpha={self.lora.alpha}"


def add_lora(
    model: nn.Module,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Iterable[str] = ("c_attn",),
    dropout: float = 0.0,
) -> None:
    """Give the linear layers named by targets a trained difference, and freeze all else. Make the
    optimiser afterwards.

    A name stands for every layer whose dotted name ends with it: "c_proj" for all of a GPT's,
    "mlp.c_proj" for half of them. A is uniform within 1 / sqrt(in), B is 0: at first the model
    computes what it did. ValueError: settings that make no sense, a name of no linear layer, a
    weight that is used elsewhere too, a model that has LoRA already."""
    settings = Settings(rank, alpha, _names(targets), dropout)
    for layer in _attach(model, _linears(model, settings.targets), settings):
        nn.init.kaiming_uniform_(layer.lora_A, a=math.sqrt(5))


def merge_lora(model: nn.Module) -> None:
    """Add the differences to the weights and make plain layers of the others: names and what is
    trained are as before `add_lora`. 16-bit weights are added to in float32 and rounded once."""
    for layer in _with_lora(model, "merge_lora").values():
        wide = promote_types(layer.weight.dtype, float32)
        W, A, B = (x.detach().to(wide) for x in (layer.weight, layer.lora_A, layer.lora_B))
        with no_grad():
            layer.weight.copy_(W + B @ A * (layer.lora.alpha / layer.lora.rank))
        for parameter in layer.trained_before:
            parameter.requires_grad_(True)
        for name in ("lora_A", "lora_B", "lora", "trained_before"):
            delattr(layer, name)
        layer.__class__ = nn.Linear  # type: ignore[assignment]


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """A and B of every layer that has them, by their names in `state_dict`, sharing memory."""
    return {
        f"{name}.{part}": getattr(layer, part).detach()
        for name, layer in _with_lora(model, "lora_state").items()
        for part in ("lora_A", "lora_B")
    }


def save_lora(model: nn.Module, path: StrPath) -> None:
    """Write A and B and the settings into the folder `path`, as PEFT does for a GPT-2.

    A file is replaced as a whole or not at all, and that of A and B holds the settings too, which
    `load_lora` prefers: a save that was cut short leaves an adapter that is the former one or this
    one. OSError: the folder cannot be written."""
    layers = _with_lora(model, "save_lora")
    text = json.dumps(_as_peft(next(iter(layers.values())).lora), indent=2)
    arrays = {f"{PREFIX}{name}.weight": x.cpu().numpy() for name, x in lora_state(model).items()}
    check_writable(path)
    with replacing(Path(path) / CONFIG) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
        save_safetensors(Path(path) / WEIGHTS, arrays, {"format": "pt", CONFIG: text})


def load_lora(model: nn.Module, path: StrPath) -> None:
    """Read what `save_lora`, or PEFT, wrote into the folder `path`, into a model that has LoRA of
    the same settings, or none: then it is added. Nothing is changed unless all of it fits.

    FileNotFoundError: no adapter there. ValueError: a damaged one, or one of another model, with
    other targets, or with settings that are not supported here."""
    settings, arrays = _read(path)
    layers: dict[str, Any] = _lora_layers(model)
    if layers:
        _check_same(settings, next(iter(layers.values())).lora, path)
    else:
        layers = _linears(model, settings.targets)
    found = _fitting(arrays, layers, settings.rank, path)
    if not _lora_layers(model):
        _attach(model, layers, settings)
    with no_grad():
        for name, array in found.items():
            x = model.get_parameter(name)
            x.copy_(creation.from_numpy(array).to(x.device))


# ---------------------------------------------------------------- layers


def _names(targets: Any) -> tuple[str, ...]:
    if isinstance(targets, str):
        message = f"[lora] targets must be a list of names, got the text {targets!r}"
        raise TypeError(f"{message}; ({targets!r},)?")
    return tuple(targets)


def _lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, LoRALinear)}


def _with_lora(model: nn.Module, op: str) -> dict[str, LoRALinear]:
    layers = _lora_layers(model)
    if not layers:
        raise ValueError(f"[{op}] the model must have LoRA, got one without; call add_lora before?")
    return layers


def _linears(model: nn.Module, targets: tuple[str, ...]) -> dict[str, nn.Linear]:
    """The layers that are meant, by name, in the model's order."""
    if _lora_layers(model):
        message = "[lora] the model must have no LoRA yet, got one that has"
        raise ValueError(f"{message}; merge_lora before?")
    linears = {name: m for name, m in model.named_modules() if type(m) is nn.Linear}
    chosen: set[str] = set()
    for target in targets:
        meant = {name for name in linears if f".{name}".endswith(f".{target}")}
        if not meant:
            there = ", ".join(sorted({name.rpartition(".")[2] for name in linears})) or "none"
            message = "[lora] every target must be the name of a linear layer"
            raise ValueError(f"{message}, got {target!r}; one of {there}?")
        chosen |= meant
    found = {name: linear for name, linear in linears.items() if name in chosen}
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for name, linear in found.items():
        if uses[id(linear.weight)] > 1:
            message = "[lora] the weight of a target must belong to it alone, got"
            raise ValueError(f"{message} {name}.weight, which is used elsewhere too; leave it out?")
    return found


def _attach(
    model: nn.Module, linears: dict[str, nn.Linear], settings: Settings
) -> list[LoRALinear]:
    """The layers with A and B of zeros; nothing else is trained any more."""
    trained_before = [p for p in model.parameters() if p.requires_grad]
    model.requires_grad_(False)
    made: list[Any] = [*linears.values()]
    for layer in made:
        layer.__class__ = LoRALinear
        layer.lora, layer.trained_before = settings, trained_before
        like = {"dtype": layer.weight.dtype, "device": layer.weight.device}
        a, b = (settings.rank, layer.in_features), (layer.out_features, settings.rank)
        layer.lora_A = nn.Parameter(creation.zeros(a, **like))
        layer.lora_B = nn.Parameter(creation.zeros(b, **like))
    return made


# ---------------------------------------------------------------- files


def _as_peft(settings: Settings) -> dict[str, Any]:
    """fan_in_fan_out: the layers of PEFT's GPT-2 keep W as (in, out); A and B are as here."""
    alpha = settings.alpha
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": settings.rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": settings.dropout,
        "target_modules": [*settings.targets],
        "fan_in_fan_out": True,
        "bias": "none",
        "inference_mode": True,
    }


def _read(path: StrPath) -> tuple[Settings, Arrays]:
    """What the folder says, without a look at the model."""
    folder = Path(path)
    if not (folder / WEIGHTS).is_file():
        message = f"[load_lora] {str(path)!r} must be a folder with {WEIGHTS}, got none"
        raise FileNotFoundError(f"{message}; is the path right?")
    arrays, metadata = load_safetensors(folder / WEIGHTS)
    try:
        text = metadata.get(CONFIG) or (folder / CONFIG).read_text(encoding="utf-8")
        said = json.loads(text)
        if said["peft_type"] != "LORA":
            raise ValueError(f"the peft_type {said['peft_type']!r}")
        for name in OTHER_FORMS:
            if said.get(name):
                raise ValueError(f"{name} = {said[name]!r}, which is not supported here")
        targets = said["target_modules"]
        targets = (targets,) if isinstance(targets, str) else _names(targets)
        settings = Settings(said["r"], said["lora_alpha"], targets, said.get("lora_dropout", 0.0))
    except OSError as error:
        message = f"[load_lora] {str(path)!r} must hold {CONFIG} as well, got none"
        raise FileNotFoundError(f"{message}; copy the whole folder?") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        came = f"no {error}" if isinstance(error, KeyError) else error
        message = f"[load_lora] {CONFIG} in {str(path)!r} must describe a LoRA adapter, got"
        raise ValueError(f"{message} {came}; is it damaged, or another kind of adapter?") from error
    return settings, arrays


def _check_same(new: Settings, old: Settings, path: StrPath) -> None:
    for name in ("rank", "alpha"):
        if getattr(new, name) != getattr(old, name):
            message = f"[load_lora] the adapter in {str(path)!r} must have the model's {name}"
            came = f"{getattr(old, name)}, got {getattr(new, name)}"
            raise ValueError(f"{message} {came}; load it into a model without LoRA?")


def _fitting(arrays: Arrays, layers: dict[str, Any], rank: int, path: StrPath) -> Arrays:
    """The arrays by their parameters' names: just those that are wanted, in the right shapes."""
    wanted = {}
    for name, layer in layers.items():
        wanted[f"{name}.lora_A"] = (rank, layer.in_features)
        wanted[f"{name}.lora_B"] = (layer.out_features, rank)
    found = {n.removeprefix(PREFIX).removesuffix(".weight"): a for n, a in arrays.items()}
    for name in sorted(wanted.keys() | found.keys()):
        shape = found[name].shape if name in found else "none"
        if wanted.get(name, "none") != shape:
            message = f"[load_lora] {name} in {str(path)!r} must have the shape"
            hint = "is it the adapter of another model, or for other targets?"
            raise ValueError(f"{message} {wanted.get(name, 'none')}, got {shape}; {hint}")
        if found[name].dtype.name not in ("float16", "bfloat16", "float32", "float64"):
            raise ValueError(f"[load_lora] {name} must be floats, got {found[name].dtype}")
        if not np.isfinite(found[name]).all():
            message = f"[load_lora] {name} in {str(path)!r} must be finite, got others"
            raise ValueError(f"{message}; was it saved by a run that went wrong?")
    return found


def lora_settings(model: nn.Module) -> dict[str, Any] | None:
    """What `add_lora` was given, as plain values; None for a model without."""
    found = next(iter(_lora_layers(model).values()), None)
    return None if found is None else dataclasses.asdict(found.lora)
