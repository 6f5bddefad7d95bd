"""Gradient checkpointing (Chen et al., 2016, arXiv 1604.06174): of a part of the forward pass only
the inputs are kept, and backward computes the rest again. The walk back goes on in the graph of
that second run, so it meets the same ops in the same order as without checkpointing: gradients are
the same bit for bit, for inputs, parameters and whatever else the part reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy

from ..arrays import (
    Array,
    actions_noted,
    changed,
    check_unwritten,
    clock,
    copied,
    leaves,
    owner_of,
)
from ..arrays.dispatch import Switches
from ..core.graph import Node
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from ..random import philox
from ..random.generator import default_generator

NAME = "CheckpointBackward"


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Callable | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), which keeps its inputs only, until backward calls it again.

    It has to compute the same again. Random numbers from the default streams are put back for that,
    unless preserve_rng_state is False. What it reads must not be written before backward, not by
    itself either. What it changes elsewhere (the running mean of a batch norm) it changes twice.
    Results that would share memory with each other, or with what is read, are copies.
    use_reentrant and the last three are taken for PyTorch's sake and change nothing: there is one
    form, which also serves inputs without a gradient and `autograd.grad`. Under `no_grad` it is a
    plain call. NotImplementedError: a context_fn, which would choose what is kept.
    NotImplementedError: inside `higher_order`, for there are no second derivatives."""
    if context_fn is not None:
        raise NotImplementedError(
            "[checkpoint] nothing but inputs is kept, so context_fn must be left out; use `with` "
            "inside the function"
        )
    if not mode.recording:
        return function(*args, **kwargs)
    if mode.create_graph is not None:
        raise NotImplementedError(
            "[checkpoint] it must be outside of higher_order, for it has no second derivative; "
            "call the function itself there"
        )
    run = Run(partial(function, *args, **kwargs), tensors_in((args, kwargs)), preserve_rng_state)
    born = next(clock), next(clock)  # before all that the function makes or writes
    out = run.first()
    found = tensors_in(out)
    places = {id(x): i for i, x in enumerate(found) if x.requires_grad and is_newer(x.node, born)}
    if not places:  # nothing in it wants a gradient
        return out
    outputs = [found[i] for i in places.values()]
    run.places = [(i, x.shape, x.dtype) for i, x in zip(places.values(), outputs)]
    ends = graph_ends([x.node for x in outputs], born)
    run.note_reading([x for x in ends if isinstance(x, Tensor)])
    fresh = attach(run, outputs, ends, born)
    by_id = dict(zip(places, fresh, strict=True))
    return changed(out, lambda x: by_id.get(id(x), x))


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """A Sequential, or a list of functions, in so many segments of equal length; each but the last,
    which also takes what is left over, is a `checkpoint`. kwargs: preserve_rng_state."""
    if unknown := kwargs.keys() - {"preserve_rng_state"}:
        raise ValueError(
            f"[checkpoint_sequential] keywords must be of checkpoint, got {', '.join(unknown)}"
        )
    functions = [*functions]
    if not 1 <= segments <= len(functions):
        raise ValueError(
            f"[checkpoint_sequential] segments must be in 1 ... {len(functions)}, got {segments}; "
            "one function each at most"
        )

    def in_turn(part: list, x: Any) -> Any:
        for function in part:
            x = function(x)
        return x

    length = len(functions) // segments
    last = length * (segments - 1)
    for start in range(0, last, length):
        input = checkpoint(in_turn, functions[start : start + length], input, **kwargs)
    return in_turn(functions[last:], input)


class Run:
    """A call, what it reads, and the settings under which it computes the same again."""

    def __init__(self, call: Callable, inputs: list[Tensor], preserve_random: bool) -> None:
        self.call, self.settings = call, (mode.autocast, Switches.kernels_on)
        for x in inputs:
            if x.is_cuda:
                philox.stream(x.device.index)  # from which the call may be the first to draw
        self.random = random_state() if preserve_random else None
        self.read: list[tuple] = []
        self.note_reading(inputs)
        self.places: list[tuple] = []  # of recorded outputs among all: (index, shape, dtype)

    def note_reading(self, tensors: list[Tensor]) -> None:
        self.read += [(x, x.array, x.node if x.requires_grad else None) for x in tensors]

    def first(self) -> Any:
        """The result. It is recorded, and so tells which outputs want a gradient and which
        parameters were read; that graph is dropped at once."""
        noted = actions_noted()
        out = self.call()
        if self.random and noted is not None:
            if actions_noted() != noted:
                raise RuntimeError(
                    "[capture] a captured step must not draw random numbers in a checkpoint, for "
                    "it cannot put them back; leave out the dropout, or the checkpoint"
                )
            self.random = None
        return out

    def again(self) -> tuple:
        """The graph of a second run: the node of each recorded output, or the leaf that it is."""
        before = mode.recording, mode.create_graph, (mode.autocast, Switches.kernels_on)
        stream = random_state() if self.random else None
        mode.recording, mode.create_graph = True, None
        mode.autocast, Switches.kernels_on = self.settings
        try:
            if self.random:
                set_random_state(self.random)
            found = tensors_in(self.call())
        finally:
            mode.recording, mode.create_graph, (mode.autocast, Switches.kernels_on) = before
            if stream:
                set_random_state(stream)
        for i, shape, dtype in self.places:
            if i >= len(found) or (found[i].shape, found[i].dtype) != (shape, dtype):
                came = f"{found[i].dtype} {tuple(found[i].shape)}" if i < len(found) else "nothing"
                raise RuntimeError(
                    f"[checkpoint] the function must compute the same again, {dtype} "
                    f"{tuple(shape)}, got {came}; does it look at something that has changed?"
                )
        chosen = [found[i] for i, _, _ in self.places]
        return tuple([(x.node or x) if x.requires_grad else None for x in chosen])


def attach(run: Run, outputs: list[Tensor], ends: list, born: tuple[int, int]) -> list[Tensor]:
    """The outputs with a node each, which hands its gradient to a common one. That node's parents
    are what was read, so that the graph is a graph, and `graph`, through which the walk passes to
    the second run."""
    arrived: list = [None] * len(outputs)
    none, whole = (None,) * len(outputs), numpy.zeros(len(outputs), bool)
    read = run.read  # by name, for the walk looks whether what a closure holds was written
    passing: list[Node] = []  # so that `graph` is held by nothing that it holds

    def arrive(i: int, g: Any) -> Any:
        arrived[i] = g
        return numpy.arange(len(arrived)) == i

    def start(reached: Any) -> tuple:
        check_same(read)
        graph.parents = run.again()
        passing.append(graph)
        return (reached, *[None] * len(ends))

    def hand_over(reached: Any) -> tuple:
        passing.pop().parents = none  # the walk has noted them
        found = [g if there else None for g, there in zip(arrived, reached)]
        arrived[:] = none
        return tuple(found)

    graph = Node(NAME, whole, none, hand_over)
    joint = Node(NAME, whole, (graph, *ends), start)
    graph.birth, joint.birth = born
    check_left_alone(joint)
    fresh = [wrap(array) for array in unshared(outputs, read)]
    for i, x in enumerate(fresh):
        x.node = Node(NAME, x.array, (joint,), lambda g, i=i: (arrive(i, g),))
        x.needs_grad = True
    return fresh


def check_same(read: list[tuple]) -> None:
    if any(x.array is not array or x.node is not node for x, array, node in read):
        raise RuntimeError(
            "[checkpoint] what the function read must be the same at backward, but a tensor has "
            "been given other data or another history; do that after backward"
        )


def check_left_alone(joint: Node) -> None:
    try:
        check_unwritten(joint.pullbacks, joint.birth, joint)
    except RuntimeError as error:
        raise RuntimeError(
            "[checkpoint] the function must leave what it reads as it is, for it reads that again, "
            "but it wrote into it; write into a clone()"
        ) from error


def unshared(outputs: list[Tensor], read: list[tuple]) -> Iterator[Array]:
    """The arrays of the outputs: each in memory that no other output has, and nothing read."""
    owners = Counter(
        id(owner_of(array)) for array in [x.array for x in outputs] + [r[1] for r in read]
    )
    for x in outputs:
        yield copied(x.array) if owners[id(owner_of(x.array))] > 1 else x.array


def is_newer(node: Node | None, born: tuple[int, int]) -> bool:
    return type(node) is Node and node.birth > max(born)


def graph_ends(nodes: list, born: tuple[int, int]) -> list:
    """Where the graph that was made since then ends: at leaves and older nodes."""
    reached, ends, pending = set(), [], nodes
    while pending:
        node = pending.pop()
        if node is None or node in reached:
            continue
        reached.add(node)
        if is_newer(node, born):
            pending.extend(node.parents)
        else:
            ends.append(node)
    return ends


def tensors_in(nest: Any) -> list[Tensor]:
    return [x for x in leaves(nest) if isinstance(x, Tensor)]


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The numbers of the GPUs where arguments are, and where their random streams stand."""
    devices = [x.get_device() for x in tensors_in(args) if x.is_cuda]
    return devices, [wrap(philox.stream(i).get_state()) for i in devices]


def set_device_states(
    devices: list[int], states: list[Tensor], *, device_type: str | None = None
) -> None:
    """Continue the streams from there."""
    for i, state in zip(devices, states):
        philox.stream(i).set_state(state.numpy())


def random_state() -> dict[int | None, Any]:
    """Where the default streams are: of the CPU (None), and of each GPU that was drawn from."""
    states: dict[int | None, Any] = {None: default_generator.get_state()}
    return states | {i: stream.get_state() for i, stream in philox.streams().items()}


def set_random_state(states: dict[int | None, Any]) -> None:
    for i, state in states.items():
        (default_generator if i is None else philox.stream(i)).set_state(state)
