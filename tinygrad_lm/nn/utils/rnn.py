"""Sequences of different lengths in one batch: padded to the longest, or packed, that is time step
by time step without the padding. Recurrent layers take and give both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...engine.core.tensor import Tensor
from ...engine.pytorch.arithmetic import where
from ...engine.pytorch.common import Device
from ...engine.pytorch.creation import arange, as_tensor, tensor
from ...engine.pytorch.joining import stack
from ...engine.pytorch.names import named
from ...engine.pytorch.ordering import argsort, sort
from ...engine.pytorch.shapes import pad

# Shapes: T longest, B batch, N all time steps of all sequences, * what a step consists of.


class Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(Packed):
    """data (N, *): the first step of every sequence, then the second of those that have one, and so
    on, longest sequence first; batch_sizes (T,): how many have each step; sorted_indices (B,): the
    sequences in that order, unsorted_indices the way back, None where they came in order."""

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if sorted_indices is not None and unsorted_indices is None:
            unsorted_indices = argsort(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The data elsewhere, or in another dtype; the indices go along."""
        data = self.data.to(*args, **kwargs)
        indices = [None if i is None else i.to(data.device) for i in self[2:]]
        return self if data is self.data else type(self)(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def cuda(self, device: Device = None) -> PackedSequence:
        return self.to("cuda" if device is None else device)

    def float(self) -> PackedSequence:
        return self.to(self.data.float().dtype)

    def double(self) -> PackedSequence:
        return self.to(self.data.double().dtype)

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | list, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack input (T, B, *), or (B, T, *) if batch_first, of which sequence b has lengths[b] steps.

    Lengths must be 1 ... T, B of them, and fall, unless enforce_sorted is False; RuntimeError."""
    x = input.transpose(0, 1) if batch_first else input
    lengths = as_tensor(lengths).cpu().long()
    if tuple(lengths.shape) != (x.shape[1],) or not x.numel():
        raise RuntimeError(
            f"[pack_padded_sequence] lengths must be one for each of {x.shape[1]} sequences of at "
            f"least one step, got {tuple(lengths.shape)} for {tuple(input.shape)}; batch_first?"
        )
    order = None
    if not enforce_sorted:
        lengths, order = sort(lengths, descending=True)
        order = order.to(x.device)
        x = x.index_select(1, order)
    numbers = lengths.tolist()
    if not 1 <= min(numbers) <= max(numbers) <= x.shape[0] or numbers != sorted(numbers)[::-1]:
        raise RuntimeError(
            f"[pack_padded_sequence] lengths must be in 1 ... {x.shape[0]} and fall, got {numbers};"
            " enforce_sorted=False sorts them"
        )
    there = arange(numbers[0], device="cpu").unsqueeze(1) < lengths  # (T, B)
    data = named(x[: numbers[0]][there.to(x.device)], "pack_padded_sequence")
    return PackedSequence(data, there.sum(1), order)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The sequences in their first order, padded (T, B, *), or (B, T, *) if batch_first, and their
    lengths (B,). total_length: T, at least the longest (ValueError)."""
    data, sizes, _, unsorted = sequence
    total = len(sizes) if total_length is None else total_length
    if total < len(sizes):
        raise ValueError(
            f"[pad_packed_sequence] total_length must be at least {len(sizes)}, the longest, "
            f"got {total}"
        )
    starts = pad(sizes.cumsum(0) - sizes, (0, total - len(sizes))).unsqueeze(1)
    rows = arange(int(sizes[0]), device="cpu")
    there = rows < pad(sizes, (0, total - len(sizes))).unsqueeze(1)  # (T, B)
    places = ((starts + rows) * there).to(data.device)
    shown = there.reshape(*there.shape, *[1] * (data.ndim - 1)).to(data.device)
    filling = tensor(padding_value, dtype=data.dtype, device=data.device)
    padded = named(where(shown, data[places], filling), "pad_packed_sequence")
    lengths = there.sum(0)
    if batch_first:
        padded = padded.transpose(0, 1)
    if unsorted is not None:
        padded = padded.index_select(0 if batch_first else 1, unsorted)
        lengths = lengths[unsorted.cpu()]
    return padded, lengths


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (length, *) in one tensor (T, B, *), or (B, T, *) if batch_first, with
    padding_value after each, or before it with padding_side="left"."""
    if not isinstance(sequences, Iterable) or not (several := [*sequences]):
        raise RuntimeError(
            f"[pad_sequence] sequences must be tensors, at least one, got {sequences!r:.60}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"[pad_sequence] padding_side must be 'left' or 'right', got {padding_side!r}"
        )
    longest = max(len(x) for x in several)
    padded = []
    for x in several:
        missing = longest - len(x)
        ends = (0, missing) if padding_side == "right" else (missing, 0)
        padded.append(pad(x, (*[0, 0] * (x.ndim - 1), *ends), value=padding_value))
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The way back from `pad_sequence`: the first lengths[b] steps of each sequence."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[:n] for row, n in zip(rows, lengths.tolist(), strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (length, *), longest first unless enforce_sorted is False."""
    lengths = [len(x) for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences (length, *) in their first order."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, True), batch_first=True)
