"""What many machines would reach: a model of a step on N ranks, one a machine, from figures that
many.py measured, beside what it says of the small cases that were measured themselves.

    python benchmarks/cluster.py        # writes results/cluster.md and its picture

Nothing is measured here. A rank takes the time that a step took which did all but sending, and the
moments at which its buckets were ready. A transfer takes alpha + (N - 1) (gamma + n / beta) seconds
for a message of n bytes to each other rank: Hockney's model (Parallel Computing 20, 1994), with the
sender's own time per message as in LogP (Culler et al., PPoPP 1993).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import harness
import many
from many import AFTER, OVERLAP, SILENT, Row

NETWORKS = {"10 Gbit/s": 10e9, "100 Gbit/s": 100e9}
PAYLOAD = 1448 / 1538  # of a full Ethernet frame, with its gap, what TCP carries
RANKS = (2, 8, 64, 1024)
GOOD = 0.9  # an efficiency
LINKS = ("100mbit", "1gbit", "10gbit")


class Link(NamedTuple):
    """alpha: seconds until a message is there, however short. gamma: seconds that each message
    takes its sender. beta: bytes per second, each way at once."""

    alpha: float
    gamma: float
    beta: float

    def exchange(self, ranks: int, size: float) -> float:
        """Seconds until each rank has `size` bytes from each other one: all N - 1 messages of a
        rank leave one after another, and all ranks do the same at the same time."""
        if ranks == 1:
            return 0.0
        return self.alpha + (ranks - 1) * (self.gamma + size / self.beta)


class Rank(NamedTuple):
    """A step without sending, in seconds from its begin: when each bucket was ready, with its
    bytes; when the walk back had ended; how long the step took; tokens of one rank. add: bytes
    that are added per second."""

    ready: tuple[tuple[float, float], ...]
    computed: float
    whole: float
    tokens: int
    add: float

    @property
    def sent(self) -> float:
        return sum(size for _, size in self.ready)


def summed(link: Link, rank: Rank, ranks: int, size: float) -> float:
    """Seconds of adding `size` bytes over all ranks: each gets a piece of every other one's, adds
    them, and sends the sum to all. That is a reduce-scatter and an all-gather, 2 (N - 1) / N size
    bytes each way (Thakur, Rabenseifner, Gropp: Optimization of Collective Communication Operations
    in MPICH, 2005, section 4.5). The step without sending has added what two ranks add."""
    if ranks == 1:
        return 0.0
    more = (0.5 - 1 / ranks) * size / rank.add
    return 2 * link.exchange(ranks, size / ranks) + more


def ends(link: Link, rank: Rank, ranks: int, overlap: bool = True) -> float:
    """When the last bucket is there. One travels after the other, each from when it is ready (with
    no overlap, from the end of the walk back): PyTorch DDP's scheme (Li et al., VLDB 2020)."""
    free = 0.0
    for ready, size in rank.ready:
        free = max(free, ready if overlap else rank.computed) + summed(link, rank, ranks, size)
    return free


def step(link: Link, rank: Rank, ranks: int, overlap: bool = True) -> float:
    """Seconds of a step: what is still to arrive when the walk back has ended is waited for."""
    return rank.whole + max(0.0, ends(link, rank, ranks, overlap) - rank.computed)


def efficiency(link: Link, rank: Rank, ranks: int, overlap: bool = True) -> float:
    """Tokens per second over those of as many ranks that send nothing."""
    return rank.whole / step(link, rank, ranks, overlap)


def bound_from(link: Link, rank: Rank) -> int | None:
    """The least power of two of ranks whose transfers take longer than what they compute; None:
    none up to 65,536."""
    for ranks in (2**n for n in range(1, 17)):
        if sum(summed(link, rank, ranks, size) for _, size in rank.ready) > rank.whole:
            return ranks
    return None


def enough(link: Link, rank: Rank, ranks: int) -> int:
    """How many micro-batches each rank needs in a step for an efficiency of GOOD: they put more
    computing beside the same transfers."""
    late = step(link, rank, ranks) - rank.whole
    return max(1, -int(-late * GOOD / (1 - GOOD) // rank.computed))


# ---------------------------------------------------------------- from what was measured


def fitted(record: dict[str, Any]) -> Link:
    """beta from the sizes of 1 MB and more, since a cable lets bursts through faster; gamma is how
    much each further message of 1 KB takes; alpha is what is left of a single one."""
    found = next(rows for name, rows in record["results"].items() if harness.OURS in name)
    seconds = {int(n): median(r["exchange"][n] for r in found) for n in found[0]["exchange"]}
    first = min(seconds)
    large = [n for n in seconds if n >= min(1 << 20, max(seconds))]
    per_byte = sum(seconds[n] - seconds[first] for n in large) / sum(n - first for n in large)
    per_byte = max(per_byte, 1e-12)
    counts = sorted(int(k) for k in found[0]["messages"])
    few, most = (median(r["messages"][str(k)] for r in found) for k in (counts[0], counts[-1]))
    gamma = max((most - few) / (counts[-1] - counts[0]) - 1024 * per_byte, 0.0)
    return Link(max(seconds[first] - gamma - first * per_byte, 0.0), gamma, 1 / per_byte)


def adding_rate(record: dict[str, Any]) -> float:
    found = next(rows for name, rows in record["results"].items() if harness.OURS in name)
    return median(r["add"] for r in found)


def rank_of(record: dict[str, Any], row: Row, add: float) -> Rank | None:
    """From a row that did all but sending."""
    found = record["results"].get(row.name)
    if not found:
        return None
    middle = {name: median(r["ms"][name] for r in found) / 1e3 for name in found[0]["ms"]}
    buckets = zip(*(r["ready"] for r in found))
    ready = tuple((median(s for s, _ in b) / 1e3, float(b[0][1])) for b in buckets)
    job = many.JOBS[record["work"]]
    tokens = job.size.tokens if job.size else 32
    return Rank(ready, middle["computed"], middle["step"], tokens, add)


def checks(processor: str) -> list[list[Any]]:
    """What the model says of each case that was measured, and how far off it is."""
    lines = []
    for link_name in ("", *LINKS):
        exchange = harness.load("-".join(filter(None, ["many-exchange", link_name])), processor)
        if not exchange:
            continue
        link, add = fitted(exchange), adding_rate(exchange)
        for work in many.JOBS:
            record = harness.load("-".join(filter(None, ["many", work, link_name])), processor)
            for ranks in (2, 4) if record else ():
                rank = rank_of(record, Row(harness.OURS, ranks, 1, ranks, SILENT), add)
                for way in (OVERLAP, AFTER) if rank else ():
                    found = many.times(record, Row(harness.OURS, ranks, 1, ranks, way))
                    said, was = 1e3 * step(link, rank, ranks, way == OVERLAP), median(found)
                    place = link_name or "memory" + (", more ranks than cores" * (ranks > 2))
                    cells = [work, place, ranks, way, f"{1e3 * rank.whole:.2f}", f"{said:.2f}"]
                    lines.append(
                        [*cells, harness.spread(found), f"{100 * (said / was - 1):+.0f} %"]
                    )
    return lines


def predicted(work: str, rank: Rank, base: Link) -> list[list[Any]]:
    lines = []
    for name, bits in NETWORKS.items():
        link = base._replace(beta=PAYLOAD * bits / 8)
        for ranks in RANKS:
            cells: list[Any] = [work, name, f"{ranks:,}"]
            cells.append(f"{1e3 * sum(summed(link, rank, ranks, n) for _, n in rank.ready):,.1f}")
            for overlap in (False, True):
                seconds = step(link, rank, ranks, overlap)
                cells += [f"{1e3 * seconds:,.1f}", f"{ranks * rank.tokens / seconds:,.0f}"]
                cells.append(f"{efficiency(link, rank, ranks, overlap):.0%}")
            lines.append([*cells, enough(link, rank, ranks)])
        bound = bound_from(link, rank)
        said = f"{bound:,} ranks" if bound else "never"
        lines[-len(RANKS)].append(said)
        for line in lines[1 - len(RANKS) :]:
            line.append("")
    return lines


# ---------------------------------------------------------------- the page


HEAD = ["work", "network", "ranks", "transfers, ms"]
HEAD += ["no overlap: step, ms", "tokens/s", "efficiency"]
HEAD += ["overlap: step, ms", "tokens/s", "efficiency"]
HEAD += [f"micro-batches for {GOOD:.0%}", "network bounds from"]
CHECKED = ["work", "link", "ranks", "sent", "all but sending, ms"]
CHECKED += ["predicted, ms", "measured, ms", "error"]
TEXT = f"""# Many machines, by a model

Written by `cluster.py` from what `many.py` measured; nothing on this page was run on more machines
than one. A rank is one process of one thread on a machine of its own, with one micro-batch a step;
tokens of the MLP are its rows.

An exchange takes alpha + (N - 1) (gamma + n / beta) seconds for n bytes to each other rank.
Gradients of G bytes take two of them with n = G / N, and (N - 1) / N G bytes to add. Buckets
travel one after another, each from when it is ready; what has not arrived when the walk back ends
is waited for. alpha and gamma are those of TCP on this machine, beta is the network's rate times
{PAYLOAD:.2f}, which is what is left of it for TCP. *Micro-batches* are those that each rank needs
in a step for an efficiency of {GOOD:.0%}; *network bounds from* is where transfers take longer
than computing. The model knows no congestion in switches, no rank that is slower than the others,
no disk, and a network card that needs none of the rank's time to copy.
"""


def page(processor: str) -> str:
    """All of it for one processor."""
    exchange = harness.load("many-exchange", processor)
    parts = [f"## {processor}"]
    links = {
        name: fitted(found)
        for name in ("", *LINKS)
        if (found := harness.load("-".join(filter(None, ["many-exchange", name])), processor))
    }
    head = ["link", "alpha, us", "gamma, us", "beta, MB/s"]
    lines = [
        [name or "memory", f"{1e6 * k.alpha:.1f}", f"{1e6 * k.gamma:.2f}", f"{k.beta / 1e6:,.0f}"]
        for name, k in links.items()
    ]
    add = adding_rate(exchange)
    parts.append(harness.markdown(head, lines))
    parts.append(f"One core adds {add / 1e9:.1f} GB/s.")
    base = list(links.values())[-1]
    found = works(processor, add)
    if found:
        every = [line for work, rank in found.items() for line in predicted(work, rank, base)]
        parts.append(harness.markdown(HEAD, every))
    checked = checks(processor)
    if checked:
        parts += ["### What it says of what was measured", CHECKS]
        parts.append(harness.markdown(CHECKED, checked))
    return "\n\n".join(parts)


CHECKS = """Over `memory` a message is copied by the ranks' own cores, which the model takes for a
card of its own: there it hides what cannot be hidden. The other links are two network
namespaces with a cable of that rate between them."""


def works(processor: str, add: float) -> dict[str, Rank]:
    """Each work, by a rank that has the machine for itself."""
    found = {}
    for work in many.JOBS:
        record = harness.load(f"many-{work}", processor)
        rank = record and rank_of(record, Row(harness.OURS, 1, 1, 1, SILENT), add)
        if rank:
            found[work] = rank
    return found


def picture(processor: str) -> None:
    """Efficiency over ranks, one panel per network, a line per work, dashed without overlap."""
    import pictures

    from tinygrad_lm.look.viz import new_figure

    exchange = [harness.load(f"many-exchange-{name}", processor) for name in LINKS]
    exchange = [record for record in exchange if record] or [
        harness.load("many-exchange", processor)
    ]
    base, figure = fitted(exchange[-1]), new_figure(9, 3.8)
    counts = [2**n for n in range(13)]
    for name, panel in zip(NETWORKS, figure.subplots(1, 2, sharey=True)):
        link = base._replace(beta=PAYLOAD * NETWORKS[name] / 8)
        for number, (work, rank) in enumerate(works(processor, adding_rate(exchange[-1])).items()):
            for overlap, style in ((True, "-"), (False, "--")):
                share = [efficiency(link, rank, n, overlap) for n in counts]
                label = work if overlap else None
                panel.plot(counts, share, style, color=f"C{number}", label=label)
        panel.set(xscale="log", xlabel="ranks, one micro-batch each", title=name, ylim=(0, 1.05))
        panel.set_xticks([1, 8, 64, 1024], ["1", "8", "64", "1,024"])
        panel.grid(alpha=0.3)
    figure.axes[0].set_ylabel("efficiency")
    panel.legend()
    pictures.save(figure, "cluster.png")


def write() -> Path | None:
    """The page and its picture; None where nothing was measured."""
    processors = [*harness.every("many-exchange")]
    if not processors:
        return None
    parts = [page(processor) for processor in processors]
    try:
        picture(processors[0])
        parts.insert(0, "![efficiency over ranks; dashed: no overlap](cluster.png)")
    except ImportError as error:
        parts.insert(0, str(error))
    path = harness.RESULTS / "cluster.md"
    path.write_text("\n\n".join([TEXT.strip(), *parts]) + "\n", "utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    path = write()
    if path is None:
        sys.exit("[cluster] results of many.py must be there; python benchmarks/many.py --work ...")
    print(f"written to {harness.RESULTS.name}/{path.name}")


if __name__ == "__main__":
    main()
