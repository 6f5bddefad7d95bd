"""A training step on several ranks, ours beside PyTorch's DistributedDataParallel over gloo: how it
scales, what is sent, how much of that is hidden behind the walk back, and what each rank holds.

    python benchmarks/many.py --work gpt-cpu              # on the cores of this machine
    python benchmarks/many.py --work exchange             # latency and bandwidth between two ranks
    python benchmarks/many.py --work gpt-cpu --link 1gbit # two network namespaces, a slow link

It starts `mpiexec -n N` itself. All rows are alive at the same time and take turns; who waits for
its turn reads a pipe and takes no time. A row is an engine on N ranks of T threads, in one of four
ways: it sends while the walk back goes on (overlap), and keeps the optimiser's state once over all
ranks (zero); it sends after the walk back (after), or it does all but sending (silent).

`--link` needs Linux and root: it makes two network namespaces that are joined by a cable of that
many bits per second, and MPI and gloo talk TCP over it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import harness
from works import Size, Watch, gpt_class

OVERLAP, AFTER, SILENT, ZERO = "overlap", "after", "silent", "zero"
THEIRS = "PyTorch"
MODULES = {harness.OURS: "tinygrad_lm", THEIRS: "torch"}


class Row(NamedTuple):
    """Who is measured: micro is the number of micro-batches of a step, over all ranks."""

    engine: str
    ranks: int
    threads: int
    micro: int
    way: str = OVERLAP

    @property
    def name(self) -> str:
        return f"{self.engine}: {self.ranks} x {self.threads}, M {self.micro}, {self.way}"


class Job(NamedTuple):
    """size: None for the MLP. steps: of a turn. apart: no row is there while another one runs, as
    not all of them have room."""

    title: str
    size: Size | None
    steps: int
    turns: int
    most: int  # micro-batches
    apart: bool = False


JOBS = {
    "mlp": Job("the MLP of makemore part 2 (batch 32)", None, 100, 20, 4),
    "gpt-cpu": Job(
        "GPT, nanoGPT's CPU configuration (4 layers, 4 heads, 128 wide, T 64, B 12)",
        Size(4, 4, 128, 64, 12),
        5,
        16,
        4,
    ),
    "gpt-384": Job("GPT, 6 layers, 6 heads, 384 wide, T 64, B 4", Size(6, 6, 384, 64, 4), 1, 15, 2),
    "gpt2-b1": Job(
        "GPT-2 124M, T 256, B 1",
        Size(12, 12, 768, 256, 1, vocabulary=50257, bias=True),
        1,
        3,
        2,
        True,
    ),
}
# Of two ranks of one thread: how many times faster than one rank, and than one process of two
# threads, our same step is to be.
TARGETS = {"one rank of one thread": (1, 1, 1.8), "one process of two threads": (1, 2, 1.0)}
# Why a target is missed, where it is.
REASONS: dict[str, str] = {
    "mlp": "its step takes less time than two ranks need to tell each other anything: a message "
    "takes as long as a good part of it, and each step has two, one after the other.",
    "gpt-cpu": "both ranks read and write at once what one core reads alone (the silent row), and "
    "each step waits for the later one, which on a shared machine is often late.",
    "gpt-384": "43 MB of gradients a step are copied four times (into buckets, to the other rank, "
    "and back) by the cores that compute, and 256 tokens are little beside them.",
    "gpt2-b1": "500 MB of gradients a step are copied by the cores that compute.",
}
EXCHANGE = "exchange"
SIZES = [1 << n for n in range(10, 27, 2)]  # 1 KB to 64 MB; over a cable to 4 MB
MESSAGES = (1, 16, 64, 256)  # of 1 KB, at once


def rows(most: int, keeps: bool, engines: Sequence[str], ranks: Sequence[int]) -> list[Row]:
    """keeps: whether there is a state of the optimiser to share out. One rank does the steps of
    one, two and four micro-batches, one process of two threads that of two; more ranks do one each,
    two of them in all ways."""
    found: list[Row] = []
    for engine in engines:
        for n in (n for n in ranks if n <= most):
            if n == 1:
                found += [Row(engine, 1, 1, m) for m in (1, 2, 4) if m <= most]
                found += [Row(engine, 1, 2, 2)]
            else:
                found += [Row(engine, n, 1, n)]
                if n == 2 or engine == harness.OURS:
                    found += [Row(engine, n, 1, n, way) for way in (AFTER, SILENT)]
                if n == 2 and keeps:
                    found += [Row(engine, n, 1, n, ZERO)]
        if 1 in ranks and engine == harness.OURS:
            found += [Row(engine, 1, 1, 1, SILENT)]
    return found


# ---------------------------------------------------------------- a rank: the step


def model_of(torch: Any, size: Size | None, zero: Any = None) -> tuple[Any, Any, Any, Callable]:
    """A model that returns its loss, its optimiser (in `zero`, if given), update() and batch(k)."""
    import numpy as np

    nn = torch.nn
    torch.manual_seed(1337)
    if size:
        model = gpt_class(torch)(size)
        settings = {"lr": 1e-3, "betas": (0.9, 0.99), "fused": True}
        kind = partial(zero, optimizer_class=torch.optim.AdamW) if zero else torch.optim.AdamW
        optimizer = kind(model.parameters(), **settings)
        shape, symbols, clip = (size.batch, size.context + 1), size.vocabulary, 1.0
    else:
        model = mlp_class(torch)()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        shape, symbols, clip = (32, 4), 27, None
    parameters = list(model.parameters())

    def batch(k: int) -> tuple[Any, Any]:
        ids = np.random.default_rng(k).integers(0, symbols, shape)
        inputs, targets = ids[:, :-1], ids[:, 1:] if size else ids[:, -1]
        return torch.tensor(inputs), torch.tensor(targets.copy())

    def update() -> None:
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return model, optimizer, update, batch


def mlp_class(torch: Any) -> Any:
    """makemore's MLP of part 2: three letters, 10 numbers each, 200 wide."""
    nn = torch.nn

    class MLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.C = nn.Embedding(27, 10)
            self.hidden = nn.Linear(30, 200)
            self.out = nn.Linear(200, 27)

        def forward(self, ids: Any, targets: Any) -> Any:
            h = torch.tanh(self.hidden(self.C(ids).view(-1, 30)))
            return nn.functional.cross_entropy(self.out(h), targets)

    return MLP


class Ours:
    """sent: bytes so far. ready: for each bucket, seconds from the step's begin to its sending,
    and its bytes."""

    def __init__(self, row: Row, size: Size | None):
        import tinygrad_lm as torch
        from tinygrad_lm.optim.zero import ZeroRedundancyOptimizer
        from tinygrad_lm.ranks.gradients import Bucket, Gradients
        from tinygrad_lm.ranks.group import Group, world

        class Silent(Group):
            """Does all but sending: what would arrive is zero."""

            def exchange(self, sends: Any, receives: Any, tag: int) -> Callable[[], bool]:
                for rank, arrays in enumerate(receives):
                    for a in arrays if rank != self.rank else ():
                        a.fill(0)
                return lambda: True

        send, self.ready = Bucket.send, list[tuple[float, int]]()

        def noted(bucket: Any, *rest: Any) -> None:
            self.ready.append((time.perf_counter() - self.begun, 4 * bucket.size))
            send(bucket, *rest)

        Bucket.send = noted
        self.group = group = world()
        if row.way == SILENT:
            group, self.group = Silent(), group
            group.rank, group.size = self.group.rank, max(2, row.ranks)
        torch.set_num_threads(row.threads)
        zero = ZeroRedundancyOptimizer if row.way == ZERO else None
        self.model, self.optimizer, self.update, batch = model_of(torch, size, zero)
        early = {OVERLAP: True, AFTER: False}.get(row.way)  # None: what training does here
        self.sums = Gradients(self.model.parameters(), group, early=early)
        self.micro = max(row.micro, group.size)
        self.sums.begin(self.micro)
        self.data = {k: batch(k) for k in self.sums.mine}

    def step(self, watch: Watch) -> Any:
        self.ready.clear()
        self.begun, loss = time.perf_counter(), None
        self.sums.begin(self.micro, 1 / self.micro)
        for k in self.sums.mine:
            loss = self.model(*self.data[k])
            self.sums.backward(loss, k)
        watch("computed")
        self.sums.finish()
        watch("waited")
        self.update()
        watch("updated")
        return loss

    def gather(self, value: Any) -> list:
        return self.group.gather(value)

    def sent(self) -> int:
        return self.group.sent


class Theirs:
    """DistributedDataParallel; `after` adds all gradients as one array, by all_reduce."""

    def __init__(self, row: Row, size: Size | None):
        import torch

        self.dist, self.row, self.ready = torch.distributed, row, list[tuple[float, int]]()
        torch.set_num_threads(row.threads)
        if row.ranks > 1:
            self.dist.init_process_group("gloo")
        rank = int(os.environ.get("RANK", 0))
        zero = None
        if row.way == ZERO:
            from torch.distributed.optim import ZeroRedundancyOptimizer as zero
        self.model, self.optimizer, self.update, batch = model_of(torch, size, zero)
        self.parameters = list(self.model.parameters())
        self.called = self.model
        if row.ranks > 1 and row.way in (OVERLAP, ZERO):
            self.called = torch.nn.parallel.DistributedDataParallel(self.model)
        self.each = row.micro // row.ranks
        mine = range(rank * self.each, (rank + 1) * self.each)
        self.data = [batch(k) for k in mine]

    def step(self, watch: Watch) -> Any:
        import torch

        loss = None
        for k, given in enumerate(self.data):
            last = k == self.each - 1 or self.called is self.model
            with contextlib.nullcontext() if last else self.called.no_sync():
                loss = self.called(*given)
                (loss / self.each).backward()
        watch("computed")
        if self.row.ranks > 1 and self.row.way == AFTER:
            gradients = [p.grad for p in self.parameters]
            flat = torch._utils._flatten_dense_tensors(gradients)
            self.dist.all_reduce(flat)
            flat /= self.row.ranks
            for g, new in zip(gradients, torch._utils._unflatten_dense_tensors(flat, gradients)):
                g.copy_(new)
        watch("waited")
        self.update()
        watch("updated")
        return loss

    def gather(self, value: Any) -> list:
        if self.row.ranks == 1:
            return [value]
        found: list = [None] * self.row.ranks
        self.dist.all_gather_object(found, value)
        return found

    def sent(self) -> int:
        """gloo does not count. Its ring sends 2 (N - 1) / N of all bytes in each step."""
        return 0


def held(optimizer: Any) -> int:
    """Bytes of an optimiser's state on this rank."""
    optimizer = getattr(optimizer, "optim", optimizer)  # what ZeRO keeps here
    arrays = (x for state in optimizer.state.values() for x in state.values())
    return sum(int(x.nbytes) for x in arrays if hasattr(x, "nbytes"))


def stepping(row: Row, job: Job, steps: int) -> Callable[[], dict[str, Any]]:
    """A turn of a rank: steps, of which the medians in ms."""
    side: Any = (Ours if row.engine == harness.OURS else Theirs)(row, job.size)
    steps = steps or job.steps

    def step() -> tuple[Any, dict[str, float]]:
        watch = Watch()
        return side.step(watch), watch.phases

    def turn() -> dict[str, Any]:
        side.gather("here")  # all begin together
        sent = side.sent()
        found = harness.timed(step, 1, steps)
        sent = (side.sent() - sent) // (steps + 1)
        weights = b"".join(p.detach().numpy().tobytes() for p in side.model.parameters())
        mine = {
            "held": held(side.optimizer),
            "peak_mb": harness.memory("VmHWM"),
            "anonymous_mb": harness.memory("RssAnon"),
            "weights": hashlib.sha256(weights).hexdigest()[:16],
        }
        found |= {"sent": sent, "ready": [(1e3 * s, n) for s, n in side.ready]}
        return {**found, "each": side.gather(mine)}

    return turn


# ---------------------------------------------------------------- a rank: exchanging


def exchanging(row: Row, sizes: list[int], quick: bool) -> Callable[[], dict[str, Any]]:
    """A turn: seconds of sending n bytes both ways at once, of adding n bytes up, and of many
    messages of 1 KB at once."""
    import numpy as np

    if row.engine == harness.OURS:
        from tinygrad_lm.ranks.gradients import reduced
        from tinygrad_lm.ranks.group import Work, world
        from tinygrad_lm.ranks.tree import Subtree

        group = world()
        places, tag = [[Subtree(0, r)] for r in range(2)], group.tags(1)[0]

        def swap(arrays: list, into: list) -> None:
            group.wait(group.exchange([arrays] * 2, [into] * 2, tag))

        def total(a: Any) -> None:
            Work(group, reduced(group, [a], a, places, tag, 0.5)).wait()

        make, rank = (lambda n: np.ones(n // 4, np.float32)), group.rank
    else:
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        dist.init_process_group("gloo")
        rank = dist.get_rank()

        def swap(arrays: list, into: list) -> None:
            under_way = [dist.irecv(a, 1 - rank) for a in into]
            under_way += [dist.isend(a, 1 - rank) for a in arrays]
            for each in under_way:
                each.wait()

        def total(a: Any) -> None:
            dist.all_reduce(a)
            a /= 2

        def make(n: int) -> Any:
            return torch.ones(n // 4)

    def seconds(call: Callable, size: int) -> float:
        """Both ranks call equally often."""
        times = []
        for _ in range(3 if quick else 4 + min(40, (1 << 24) // size)):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        return median(times[1:])

    def turn() -> dict[str, Any]:
        found: dict[str, Any] = {"exchange": {}, "sum": {}, "messages": {}}
        for n in sizes:
            a, b = make(n), make(n)
            found["exchange"][str(n)] = seconds(partial(swap, [a], [b]), n)
            found["sum"][str(n)] = seconds(partial(total, a), n)
        for k in MESSAGES:
            out, into = ([make(1024) for _ in range(k)] for _ in range(2))
            found["messages"][str(k)] = seconds(partial(swap, out, into), 1024 * k)
        if rank == 0:
            found["add"] = adding()
        return found

    return turn


def adding(size: int = 1 << 22) -> float:
    """Bytes per second of a += b, of one array: what reducing costs."""
    import numpy as np

    a, b = np.ones(size, np.float32), np.ones(size, np.float32)
    return a.nbytes / harness.seconds_of(lambda: np.add(a, b, out=a), 0.05)


# ---------------------------------------------------------------- starting ranks


def be_a_rank(row: Row, args: argparse.Namespace) -> None:
    """What mpiexec starts: a turn for each line of this rank's pipe."""
    number = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", 0)))
    if row.engine == THEIRS:
        os.environ |= {"RANK": str(number), "WORLD_SIZE": str(row.ranks)}
    if args.work == EXCHANGE:
        count = 3 if args.steps else 7 if args.link else None
        turn = exchanging(row, SIZES[:count], bool(args.steps))
    else:
        turn = stepping(row, JOBS[args.work], args.steps)
    with open(Path(args.rank) / str(number)) as pipe, open(Path(args.rank) / "found", "w") as out:
        for _ in pipe:
            found = turn()
            if number == 0:
                print(json.dumps(found), file=out, flush=True)


def lead(row: Row, args: argparse.Namespace) -> None:
    """Start a row's ranks, and pass on what this process is told, to each of them."""
    with tempfile.TemporaryDirectory() as folder:
        pipes, out = [Path(folder) / str(rank) for rank in range(row.ranks)], Path(folder) / "found"
        for pipe in (*pipes, out):
            os.mkfifo(pipe)
        own = [sys.executable, __file__, *command(row, args), "--rank", folder]
        environment = {**os.environ, "MASTER_PORT": str(args.port)}
        environment |= {"MASTER_ADDR": "127.0.0.1", **(LINKED if args.link else {})}
        started = subprocess.Popen(
            beginning(row.ranks, own, bool(args.link)), env=environment, stdin=subprocess.DEVNULL
        )
        # Without this, whoever waits for ranks that failed would wait for ever.
        threading.Thread(target=lambda: os._exit(started.wait()), daemon=True).start()
        ends = [open(pipe, "w") for pipe in pipes]
        found = open(out)  # what mpiexec passes on may come late, or with the next line
        for line in sys.stdin:
            for end in ends:
                end.write(line)
                end.flush()
            print(found.readline(), end="", flush=True)
        for end in ends:
            end.close()
        started.wait()


def beginning(ranks: int, own: list[str], linked: bool) -> list[str]:
    if ranks == 1:
        return own
    if not linked:
        return ["mpiexec", "-n", str(ranks), *own]
    each = [["-n", "1", "ip", "netns", "exec", name, *own] for name in NAMESPACES]
    return ["mpiexec", *each[0], ":", *each[1]]


def command(row: Row, args: argparse.Namespace) -> list[str]:
    found = ["--work", args.work, "--row", json.dumps(row), "--steps", str(args.steps)]
    return [*found, *(["--link", args.link] if args.link else [])]


NAMESPACES = ("many0", "many1")
LINKED = {
    "UCX_TLS": "tcp,self",  # of MPICH
    "MPIR_CVAR_NOLOCAL": "1",
    "MASTER_ADDR": "10.77.0.1",
    "GLOO_SOCKET_IFNAME": "cable",
}


@contextlib.contextmanager
def cable(rate: str) -> Iterator[None]:
    """Two network namespaces, joined by an Ethernet of that rate in each direction (`100mbit`)."""

    def ip(*arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
        if done.returncode:
            said = f"ip {' '.join(arguments)}: {done.stderr.strip()}"
            raise SystemExit(f"[many] --link must be able to make a network, got: {said}")

    with contextlib.ExitStack() as stack:
        for name in NAMESPACES:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
        a, b = NAMESPACES
        ip("-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b)
        for number, name in enumerate(NAMESPACES, 1):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            shape = ["tbf", "rate", rate, "burst", "512kb", "latency", "50ms"]
            ip("netns", "exec", name, "tc", "qdisc", "add", "dev", "cable", "root", *shape)
        yield


# ---------------------------------------------------------------- what came out


def times(record: dict[str, Any], row: Row, what: str = "step") -> list[float]:
    return [r["ms"][what] for r in record["results"].get(row.name, [])]


def aims(record: dict[str, Any]) -> list[tuple[str, list[float], float]]:
    """Beside what two ranks are measured; how many times faster they are, pair by pair; the aim."""
    # On one machine gradients are sent when all are there: `Gradients` says why.
    two = times(record, Row(harness.OURS, 2, 1, 2, AFTER)) or times(
        record, Row(harness.OURS, 2, 1, 2)
    )
    found = []
    for beside, (ranks, threads, aim) in TARGETS.items():
        other = times(record, Row(harness.OURS, ranks, threads, 2))
        if two and other:
            found.append((beside, harness.ratios(other, two), aim))
    return found


def against_targets(records: Sequence[dict[str, Any]]) -> str:
    """A line for each target and work of a processor, and why those are missed that are."""
    lines, why = [], []
    for record in records:
        work, missed = record["work"], False
        for beside, ratios, aim in aims(record):
            met = median(ratios) > aim if aim == 1 else median(ratios) >= aim
            missed |= not met
            verdict = f"target {aim:.2f} **{'met' if met else 'missed'}**"
            lines.append([f"`{work}`", beside, f"{harness.spread(ratios)}, {verdict}"])
        if missed:
            why.append(f"- Missed by `{work}`: {REASONS[work]}")
    head = ["training step", "two ranks of one thread beside", "times faster"]
    return "\n\n".join(filter(None, [harness.markdown(head, lines), "\n".join(why)]))


def held_table(records: Sequence[dict[str, Any]]) -> str:
    """What each of two ranks holds: the most of all its memory, what of it is its own at the end of
    a step, and the state of the optimiser, without and with ZeRO."""
    head = ["training step", "engine", "most, MB", "own, MB", "optimiser's state, MB"]
    head += [f"with ZeRO: {name}" for name in head[2:]]
    lines = []
    for record in records:
        for engine in MODULES:
            cells = []
            for way in (OVERLAP, ZERO):
                found = record["results"].get(Row(engine, 2, 1, 2, way).name)
                each = found[-1]["each"] if found else []
                for what, unit in (("peak_mb", 1), ("anonymous_mb", 1), ("held", 1e6)):
                    values = [f"{e[what] / unit:.{int(unit > 1)}f}" for e in each]
                    cells.append(" / ".join(values) or "-")
            if set(cells) != {"-"}:
                lines.append([f"`{record['work']}`", engine, *cells])
    return harness.markdown(head, lines)


def hidden(record: dict[str, Any], engine: str) -> float | None:
    """The share of what sending costs after the walk back that it does not cost during it."""
    ms = [times(record, Row(engine, 2, 1, 2, way)) for way in (SILENT, OVERLAP, AFTER)]
    if not all(ms):
        return None
    silent, overlap, after = map(median, ms)
    return (after - overlap) / (after - silent) if after > silent else None


def table(record: dict[str, Any]) -> str:
    """A line per row of one engine, with the other's beside it."""
    head = ["ranks x threads", "micro-batches", "sent", "ours, ms", "ours / 1 x 1", "PyTorch, ms"]
    head += ["PyTorch / 1 x 1", "PyTorch / ours", "MB sent per rank", "peak MB, ours / PyTorch"]
    lines = []
    for row in (r for r in every_row(record) if r.engine == harness.OURS):
        mine, theirs = times(record, row), times(record, row._replace(engine=THEIRS))
        cells = [f"{row.ranks} x {row.threads}", row.micro, row.way]
        for engine, found in ((harness.OURS, mine), (THEIRS, theirs)):
            one = times(record, Row(engine, 1, 1, row.micro))
            cells += [harness.spread(found) if found else "-"]
            cells += [f"{median(harness.ratios(one, found)):.2f}" if found and one else "-"]
        cells.append(f"{median(harness.ratios(theirs, mine)):.2f}" if theirs else "-")
        cells.append(f"{record['results'][row.name][-1]['sent'] / 1e6:.2f}")
        peaks = [
            max(each["peak_mb"] for each in record["results"][r.name][-1]["each"])
            for r in (row, row._replace(engine=THEIRS))
            if r.name in record["results"]
        ]
        lines.append([*cells, " / ".join(f"{peak:.0f}" for peak in peaks)])
    return harness.markdown(head, lines)


def every_row(record: dict[str, Any]) -> list[Row]:
    return [Row(*row) for row in record["rows"]]


def same_weights(record: dict[str, Any]) -> bool:
    """Whether all of our ranks, however many, came to the same bits for the same step, in turns of
    the same number."""
    kept: dict[tuple[int, int], set[str]] = {}
    for row in every_row(record):
        if row.engine == harness.OURS and row.way != SILENT:
            for turn, found in enumerate(record["results"][row.name]):
                bits = {each["weights"] for each in found["each"]}
                kept.setdefault((row.micro, turn), set()).update(bits)
    return all(len(bits) == 1 for bits in kept.values())


def exchange_table(record: dict[str, Any]) -> str:
    """Microseconds and MB/s by size, both ways at once."""
    head = ["bytes"]
    for engine in record["results"]:
        name = engine.partition(":")[0]
        head += [f"{name}: exchange, us", "MB/s each way", "sum, us"]
    lines = []
    for n in next(iter(record["results"].values()))[0]["exchange"]:
        cells = [f"{int(n):,}"]
        for found in record["results"].values():
            swap, add = (median(r[what][n] for r in found) for what in ("exchange", "sum"))
            cells += [f"{1e6 * swap:,.0f}", f"{int(n) / swap / 1e6:,.0f}", f"{1e6 * add:,.0f}"]
        lines.append(cells)
    return harness.markdown(head, lines)


def shown(record: dict[str, Any]) -> str:
    if record["work"] == EXCHANGE:
        return exchange_table(record)
    said = [table(record)]
    for engine in (harness.OURS, THEIRS):
        share = hidden(record, engine)
        if share is not None:
            hides = f"hides {share:.0%} of what sending costs"
            loses = "takes longer where it sends while the walk back goes on than after it"
            said.append(f"{engine} on 2 ranks {hides if share > 0 else loses}.")
    bits = "the same bits" if same_weights(record) else "OTHER BITS"
    said.append(f"All of our ranks, however many, have {bits} after the same steps.")
    return "\n\n".join(said)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", choices=[*JOBS, EXCHANGE], default="gpt-cpu")
    parser.add_argument("--turns", type=int, help="of each row, in alternation")
    parser.add_argument("--steps", type=int, default=0, help="timed steps of a turn")
    parser.add_argument("--ranks", type=int, nargs="+", help="1, 2, 4")
    parser.add_argument("--link", help="over a cable of so many bits per second, as 100mbit")
    parser.add_argument("--no-pytorch", action="store_true", help="ours alone")
    parser.add_argument("--threads", type=int, default=2, help=argparse.SUPPRESS)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.row:
        row = Row(*json.loads(args.row))
        return be_a_rank(row, args) if args.rank else lead(row, args)
    if not shutil.which("mpiexec") or not harness.has("mpi4py"):
        raise SystemExit("[many] mpiexec and mpi4py must be there; pip install '.[mpi,mpich]'")
    engines = [engine for engine, module in MODULES.items() if harness.has(module)]
    engines = engines[: 1 if args.no_pytorch else None]
    turns = args.turns or (JOBS[args.work].turns if args.work in JOBS else 5)
    if args.work == EXCHANGE:
        wanted = [Row(engine, 2, 1, 2) for engine in engines]
    else:
        ranks = args.ranks or ((2,) if args.link else (1, 2, 4))
        job = JOBS[args.work]
        wanted = rows(job.most, job.size is not None, engines, ranks)
    record = measured(wanted, turns, args)
    print(shown(record))
    harness.save("-".join(filter(None, ["many", args.work, args.link])), record)


def measured(wanted: list[Row], turns: int, args: argparse.Namespace) -> dict[str, Any]:
    runs: harness.Runs = {}
    for number, row in enumerate(wanted):
        port = ["--port", str(29600 + number)]
        extra = harness.MALLOC if row.engine == THEIRS else {}
        runs[row.name] = ([__file__, *command(row, args), *port], extra)
    machine = harness.machine()
    with cable(args.link) if args.link else contextlib.nullcontext():
        apart = args.work in JOBS and JOBS[args.work].apart
        results = harness.alternate(runs, *((turns, 1) if apart else (1, turns)))
    return {
        "work": args.work,
        "settings": {
            "threads": args.threads,  # of all ranks together, but for more ranks than cores
            "turns": turns,
            "steps": args.steps,
            "link": args.link,
        },
        "machine": machine | {"mpi": mpi()},
        "rows": wanted,
        "results": results,
    }


def mpi() -> str:
    said = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True).stdout
    name = "MPICH" if "HYDRA" in said else "Open MPI" if "Open MPI" in said else "mpiexec"
    return f"{name} {(re.findall(r'[0-9]+[.][0-9.]+', said) or [''])[0]}".strip()


if __name__ == "__main__":
    main()
