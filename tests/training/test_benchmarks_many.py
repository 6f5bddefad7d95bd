"""The benchmark of many ranks at its smallest, and the model of a cluster: its laws, and its
formulas beside a simulation of each message. Nothing here judges a time."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import cluster  # noqa: E402
import harness  # noqa: E402
import many  # noqa: E402
import report  # noqa: E402

seconds = st.floats(1e-6, 1e-2)
links = st.builds(cluster.Link, seconds, seconds, st.floats(1e6, 1e10))
sizes = st.floats(1e3, 1e8)


@st.composite
def ranks_alone(draw):
    """Steps without sending: buckets are ready one after another, before the walk back ends."""
    ready = sorted(draw(st.lists(st.floats(0, 0.1), min_size=1, max_size=4)))
    computed = ready[-1] + draw(st.floats(1e-4, 0.1))
    buckets = tuple((moment, draw(sizes)) for moment in ready)
    whole = computed + draw(st.floats(0, 0.01))
    return cluster.Rank(buckets, computed, whole, 100, draw(st.floats(1e8, 1e11)))


# ---------------------------------------------------------------- the model


@given(links, ranks_alone(), st.booleans())
def test_one_rank_alone_sends_nothing(link, rank, overlap):
    assert cluster.step(link, rank, 1, overlap) == rank.whole
    assert cluster.efficiency(link, rank, 1, overlap) == 1


@given(links, ranks_alone(), st.integers(2, 2000), st.booleans(), st.floats(1, 100))
def test_more_bandwidth_is_never_slower_and_overlap_neither(link, rank, ranks, overlap, times):
    here = cluster.step(link, rank, ranks, overlap)
    assert cluster.step(link._replace(beta=link.beta * times), rank, ranks, overlap) <= here
    assert cluster.step(link, rank, ranks, overlap=True) <= here
    assert cluster.step(link, rank, ranks + 1, overlap) >= here * (1 - 1e-12)


@given(links, st.integers(2, 1000), sizes)
def test_a_sum_moves_the_bytes_that_thakur_counts(link, ranks, size):
    """2 (N - 1) / N size bytes, where messages cost nothing but their bytes."""
    rank = cluster.Rank(((0.0, size),), 0.0, 0.0, 1, np.inf)
    free = link._replace(alpha=0.0, gamma=0.0)
    wanted = 2 * (ranks - 1) / ranks * size / link.beta
    assert cluster.summed(free, rank, ranks, size) == pytest.approx(wanted)


def simulated(link, rank, ranks, overlap):
    """When the last message of the last bucket is there, message by message: each rank's card sends
    its messages one after another, those of a sum only when all pieces are there, and what was
    asked for first goes first. All ranks do the same, so one card says it for all."""
    moments = [moment if overlap else rank.computed for moment, _ in rank.ready]
    asked = [(moment, number, 0) for number, moment in enumerate(moments)]
    free, last = 0.0, 0.0
    while asked:
        moment, number, stage = min(asked)
        asked.remove((moment, number, stage))
        size = rank.ready[number][1] / ranks
        free = max(free, moment)
        for _ in range(ranks - 1):
            free += link.gamma + size / link.beta
            there = free + link.alpha
        if stage == 0:
            more = (0.5 - 1 / ranks) * rank.ready[number][1] / rank.add
            asked.append((there + more, number, 1))
        last = max(last, there)
    return last


@given(links, ranks_alone(), st.integers(2, 9), st.booleans())
def test_the_formulas_are_what_a_simulation_of_each_message_comes_to(link, rank, ranks, overlap):
    """Exactly for one bucket; with more, one bucket's way hides the wait of another, which the
    model leaves out, and it is later by no more than these waits."""
    alone = rank._replace(ready=rank.ready[:1])
    told = cluster.ends(link, alone, ranks, overlap)
    assert told == pytest.approx(simulated(link, alone, ranks, overlap))
    told, real = (f(link, rank, ranks, overlap) for f in (cluster.ends, simulated))
    sums = (0.5 - 1 / ranks) * rank.sent / rank.add
    waits = 2 * len(rank.ready) * link.alpha + sums
    assert real * (1 - 1e-9) <= told <= real * (1 + 1e-9) + waits


def test_a_link_is_found_again_from_the_times_that_it_made():
    true = cluster.Link(50e-6, 3e-6, 1e9)
    row = {
        "exchange": {str(n): true.exchange(2, n) for n in many.SIZES},
        "messages": {str(k): true.exchange(k + 1, 1024) for k in many.MESSAGES},
        "add": 1e9,
    }
    found = cluster.fitted({"results": {f"{harness.OURS}: 2 x 1": [row]}})
    assert found == pytest.approx(true)


def made_up(ms, work="gpt-cpu"):
    """A record whose turns all took these ms."""
    rows = {row: [{"ms": {"step": t}}] * 3 for row, t in ms.items()}
    return {"work": work, "rows": list(rows), "results": {r.name: f for r, f in rows.items()}}


def test_targets_are_judged_pair_by_pair_and_a_reason_is_given_where_one_is_missed():
    one, two, threads = (
        many.Row(harness.OURS, *shape) for shape in ((1, 1, 2), (2, 1, 2), (1, 2, 2))
    )
    said = many.against_targets([made_up({one: 180.0, two: 100.0, threads: 101.0})])
    assert "1.80 (1.80 - 1.80), target 1.80 **met**" in said and "Missed" not in said
    assert "1.01 (1.01 - 1.01), target 1.00 **met**" in said
    said = many.against_targets([made_up({one: 170.0, two: 100.0, threads: 100.0})])
    assert said.count("**missed**") == 2 and said.endswith(many.REASONS["gpt-cpu"])
    assert many.REASONS.keys() == many.JOBS.keys()


def test_what_is_hidden_is_a_share_of_what_sending_costs():
    ways = {many.SILENT: 100.0, many.OVERLAP: 105.0, many.AFTER: 120.0}
    rows = {many.Row(harness.OURS, 2, 1, 2, way): t for way, t in ways.items()}
    assert many.hidden(made_up(rows), harness.OURS) == pytest.approx(0.75)
    assert many.hidden(made_up(rows), many.THEIRS) is None


# ---------------------------------------------------------------- the scripts


@pytest.mark.mpi
def test_two_ranks_are_measured_and_a_cluster_computed(tmp_path, monkeypatch, capsys):
    if not shutil.which("mpiexec") or not harness.has("mpi4py"):
        pytest.skip("no mpiexec or no mpi4py")
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    few = ["--turns", "2", "--steps", "1", "--no-pytorch"]
    many.main(["--work", "mlp", "--ranks", "1", "2", *few])
    many.main(["--work", many.EXCHANGE, *few])
    kept = json.loads(harness.path_of("many-mlp", harness.processor()).read_text())
    weights = 27 * 10 + 30 * 200 + 200 + 200 * 27 + 27
    found = kept["results"][many.Row(harness.OURS, 2, 1, 2).name]
    assert 4 * weights <= found[0]["sent"] < 4 * weights * 1.02  # 2 (N - 1) / N of them, and flags
    assert len(found) == 2 and len(found[0]["each"]) == 2
    assert "have the same bits after" in capsys.readouterr().out
    found[1]["each"][1]["weights"] = "other"
    assert "have OTHER BITS after" in many.shown(kept)
    said = report.many_section({})
    assert "| `mlp` | one process of two threads | " in said and "| 16,384 | " in said
    cluster.main()
    page = (tmp_path / "cluster.md").read_text()
    assert "| mlp | 10 Gbit/s | 1,024 |" in page and "| mlp | memory | 2 | after |" in page


@pytest.mark.mpi
def test_ranks_that_fail_end_the_benchmark_with_what_they_said(tmp_path, monkeypatch):
    if not shutil.which("mpiexec") or not harness.has("mpi4py"):
        pytest.skip("no mpiexec or no mpi4py")
    row = many.Row(harness.OURS, 2, -1, 2)
    call = ["--work", "mlp", "--row", json.dumps(row), "--port", "29600"]
    with pytest.raises(SystemExit, match="must run, got:\n(.|\n)*thread"):
        harness.alternate({"row": ([many.__file__, *call], {})}, 1)
