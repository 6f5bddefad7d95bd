"""The benchmarks' own arithmetic on numbers known beforehand, their scripts at the smallest sizes,
and the report from made-up results. Nothing here judges a time."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lm as tl
from tinygrad_lm.engine.core.op import OPS

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import crossover  # noqa: E402
import harness  # noqa: E402
import losses  # noqa: E402
import measure  # noqa: E402
import ops  # noqa: E402
import products  # noqa: E402
import report  # noqa: E402
import report_steps  # noqa: E402
import scaling  # noqa: E402
import step  # noqa: E402
import verdict  # noqa: E402
import works  # noqa: E402

SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if "argparse" in path.read_text())
OURS, ALONE = harness.OURS, harness.ALONE


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results go into a folder of the test's own."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def alone(monkeypatch):
    """A machine without PyTorch and without compiled kernels."""
    monkeypatch.setattr(harness, "has", lambda module: False)


def runs(times, loss=2.0, peak=100.0):
    """Made-up runs of one row of step.py."""
    return [
        {
            "ms": {"step": t, "forward": t / 4, "backward": t / 2, "update": t / 8},
            "losses": {"1": 3.0, "10": loss, "50": loss},
            "peak_mb": peak,
        }
        for t in times
    ]


MACHINE = {
    "processor": "Chip 1 (AVX2)",
    "cores": 2,
    "versions": {"numpy": "2"},
    "compiled_kernels": True,
    "malloc_settings": True,
    "commit": "abc1234",
    "changed_since": False,
}


HERE = harness.short(MACHINE["processor"])  # as a part of a file's name


def record(work):
    """Ours 10, 20, 40 ms; PyTorch twice, thrice, four times that, compiled 1.5 times."""
    return {
        "work": work,
        "settings": {"threads": 2, "repeats": 3},
        "machine": MACHINE,
        "gemm": [{"ms": {"step": t}} for t in (5, 10, 20)],
        "results": {
            OURS: runs((10, 20, 40), peak=90.0),
            "PyTorch": runs((20, 60, 160)),
            "PyTorch, malloc settings": runs((20, 40, 80), peak=80.0),
            "PyTorch, torch.compile": runs((15, 30, 60), peak=300.0),
        },
    }


# ---------------------------------------------------------------- arithmetic


def test_ratios_are_taken_pair_by_pair():
    found = record("gpt-cpu")["results"]
    ours, theirs = (harness.step_times(found[name]) for name in (OURS, "PyTorch"))
    assert harness.ratios(theirs, ours) == [2, 3, 4]
    with pytest.raises(ValueError):
        harness.ratios(theirs, ours[:2])


def test_a_spread_is_the_median_and_the_ends():
    assert harness.spread([3.0, 1.0, 2.5]) == "2.50 (1.00 - 3.00)"
    assert harness.spread([0.125], 1) == "0.1 (0.1 - 0.1)"


def test_the_best_of_pytorch_is_its_fastest_row_with_and_without_settings():
    found = record("gpt-cpu")["results"]
    assert harness.best(found, settings=False) == "PyTorch, torch.compile"
    assert harness.best(found, settings=True) == "PyTorch, malloc settings"
    assert harness.best({OURS: found[OURS]}, settings=False) is None


def test_timed_leaves_the_warm_up_out_and_keeps_the_losses_of_the_steps_it_names():
    done = []

    def step():
        done.append(1)
        return float(len(done)), {"forward": 1.0 if len(done) <= 11 else 0.002}

    found = harness.timed(step, warm_up=11, steps=1)
    assert found["losses"] == {"1": 1.0, "10": 10.0, "12": 12.0}
    assert found["ms"]["forward"] == pytest.approx(2.0)


def test_the_table_of_a_step_says_ratio_speed_and_share():
    """gpt-cpu: 3.97 GFLOP in 20 ms; its products, 3.74 GFLOP, in 10 ms."""
    lines = step.table(record("gpt-cpu")).splitlines()
    head, _, ours, theirs = (line.strip("| ").split(" | ") for line in lines[:4])
    cells = dict(zip(head, ours))
    assert cells["ms per step"] == "20.00 (10.00 - 40.00)" and cells["forward"] == "5.00"
    assert float(cells["GFLOP/s"]) == pytest.approx(3.97e9 / 0.020 / 1e9, rel=0.01)
    products = 768 * 6 * (4 * 12 * 128**2 + 128 * 65)
    share = (3.97e9 / 0.020) / (products / 0.010)
    assert cells["of the products' rate"] == f"{share:.0%}"
    assert dict(zip(head, theirs))["its time / ours"] == "3.00 (2.00 - 4.00)"
    found = record("gpt-cpu")
    found["results"][harness.CAPTURED] = [{**r, "ms": {"step": 5.0}} for r in runs((5, 5, 5))]
    *_, replayed = step.table(found).splitlines()
    assert "| tinygrad_lm, captured | 5.00 (5.00 - 5.00) | - | - | - |" in replayed


@pytest.mark.parametrize("loss, verdict", [(2.0, "agree"), (2.001, "DISAGREE")])
def test_losses_that_differ_are_said_to(loss, verdict):
    found = record("gpt-cpu")
    found["results"]["PyTorch"] = runs((1,), loss=loss)
    assert f"after step 10 {verdict}" in step.agreement(found)  # the last one up to 25
    found = record("gpt-cpu")
    found["results"][harness.CAPTURED] = runs((1,), loss=loss)
    assert f"after step 10 {verdict}" in step.agreement(found)


@pytest.mark.parametrize(
    "work, billions", [("gpt-cpu", 3.97), ("baby-gpt", 1163), ("baby-gpt-dropout", 1163)]
)
def test_the_arithmetic_of_a_step_is_the_known_one(work, billions):
    assert works.WORKS[work].flops / 1e9 == pytest.approx(billions, rel=2e-3)


def test_gpt2_has_the_parameters_of_the_published_one():
    size = works.WORKS["gpt2-b1"].size
    assert size.parameters + 1024 * 768 == 124_439_808


@pytest.mark.parametrize("bias", [False, True])
def test_the_program_has_the_parameters_and_products_it_counts(bias):
    size = works.Size(2, 2, 8, 4, 3, vocabulary=11, bias=bias)
    model = works.gpt_class(tl)(size)
    counted = sum(p.numel() for name, p in model.named_parameters() if name != "wpe.weight")
    assert counted == size.parameters
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.ndim > 1 and "wpe" not in n)
    assert sum(p.inputs * p.outputs * p.times for p in size.products) == matrices
    assert {p.rows for p in size.products} == {12}


def test_products_are_timed_for_every_layer():
    once = step.products_ms([works.Product(64, 64, 64)])
    assert step.products_ms([works.Product(64, 64, 64, times=1000)]) > 100 * once > 0


def test_an_exponent_is_the_slope_of_the_logarithms():
    assert scaling.exponent([1, 2, 4, 8], [3 * v**1.7 for v in (1, 2, 4, 8)]) == pytest.approx(1.7)


def scaled(ours, products):
    point = {axis: {str(v): {} for v in values} for axis, values in scaling.AXES.items()}

    def column(ms):
        return {a: {v: {"step": ms(float(v))} for v in p} for a, p in point.items()}

    limits = {"limits": {"gflops": 200.0, "gbs": 30.0}}
    return {
        OURS: [column(ours)],
        "PyTorch": [column(ours)],
        scaling.GEMM: [column(products) | limits],
    }


def test_growth_beyond_the_arithmetic_is_found_and_put_down_to_its_part():
    """Layers: the arithmetic grows by 1 at most; what grows by 2 here is no product."""
    found = scaled(ours=lambda v: 10 + v**2, products=lambda v: v)
    told = scaling.verdict(found, "layers")
    assert told.startswith("The step grows faster than its arithmetic from ")
    assert "from 8 to 16 (most of all the rest, " in told
    last, whole = scaling.axis_table(found, "layers").splitlines()[-2:]
    assert "layers 8 to 16, " in verdict.growth(found)
    assert "| 16 | 15.8 | 266 | 16 | 250 | 266 |" in last and "**1.00**" in whole
    steady = scaled(ours=lambda v: 3 * v**0.9, products=lambda v: v**0.9)
    told = scaling.verdict(steady, "layers")
    assert told.startswith("On this axis the step never grows faster than its arithmetic.")
    faster = scaled(ours=lambda v: 10 / v, products=lambda v: 4 / v**0.5)
    assert "times faster: ours 2.00, products 1.41" in scaling.verdict(faster, "threads")


def test_bytes_count_each_number_once_in_each_direction():
    case = ops.Case(None, [(2, 3), (3,)], 0.0)
    assert case.moved(outputs=6) == 4 * (3 * 9 + 2 * 6)
    assert ops.Case(None, [(50257, 768)], 0.0, numbers=10).moved(outputs=6) == 40


def test_every_fused_op_is_measured():
    fused = {name for name, op in OPS.items() if op.fused}
    assert fused <= set(ops.cases("smallest"))


@pytest.mark.parametrize(
    "sizes, ratios, said, at",
    [
        ((10, 1000, 10**5), (0.1, 10, 100), "from 100 on", 100),
        ((10, 100, 1000, 10**5), (0.5, 2, 0.5, 2), "from 10,000 on", 10_000),
        ((10, 100), (1, 2), "always (from 10)", None),
        ((10, 100), (0.1, 0.2), "never up to 100", None),
        ((), (), "not measured", None),
    ],
)
def test_a_crossing_is_where_the_line_between_the_logarithms_meets_one(sizes, ratios, said, at):
    told, found = crossover.crossing(sizes, ratios)
    assert told == said and found == (pytest.approx(at) if at else None)


def gpu_row(module, mode, ms, **other):
    known = {"work": "gpt2", "size": 64, "device": "cuda", "dtype": "bfloat16", "flops": 1e12}
    times = {"ms": [ms], "host_ms": [ms], "reading_ms": ms, "first_ms": ms, "peak_mb": 1.0}
    known |= {"module": module, "mode": mode, "losses": [2.0], "tokens": 10, "moved": 0}
    return {**known, **times, **other}


def test_what_was_measured_twice_comes_from_the_call_that_measured_both_modules(tmp_path):
    """Else from the later call; an error gives way to a time, wherever that is."""
    head, smaller = {"machine": {}, "card": ""}, {"size": 16}
    failed = {k: v for k, v in gpu_row("torch", "eager", 0.0).items() if k != "ms"}
    lines = [head, gpu_row(OURS, "captured", 2.0), gpu_row("torch", "compiled", 5.0)]
    lines += [gpu_row(OURS, "captured", 3.0, **smaller), gpu_row("torch", "eager", 8.0)]
    lines += [head, gpu_row(OURS, "captured", 1.0), gpu_row(OURS, "captured", 1.5, **smaller)]
    lines += [{**failed, "error": "no memory"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    _, rows = crossover.load(path)
    assert [(r["size"], r["mode"], crossover.cost(r)) for r in rows] == [
        (64, "captured", 2.0),
        (64, "compiled", 5.0),
        (16, "captured", 1.5),
        (64, "eager", 8.0),
    ]


# ---------------------------------------------------------------- the scripts


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself(script):
    command = [sys.executable, str(FOLDER / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
    # Ranks take their share of the cores, and a road has one.
    assert "--threads" in done.stdout or script in ("road.py", "kills.py", "many.py")


@pytest.mark.parametrize("work", ["moons", "mlp", "rnn"])
def test_a_work_runs_and_learns(work):
    one_step = works.WORKS[work].build(tl)
    found = [one_step() for _ in range(30)]
    assert set(found[0][1]) == {"forward", "backward", "update"}
    assert np.mean([x for x, _ in found[-5:]]) < found[0][0]


@pytest.mark.parametrize("work", [name for name, work in works.WORKS.items() if work.captured])
def test_a_captured_step_has_the_losses_of_the_plain_one(work):
    """Bit for bit, the rate that changes and the batches that are drawn included; it has no
    phases."""
    count = 4 if work == "gpt-cpu" else 8
    plain = works.WORKS[work].build(tl)
    expected = [plain()[0] for _ in range(count)]
    recorded = works.WORKS[work].build(tl, capture=True)  # which seeds anew
    found = [recorded() for _ in range(count)]
    assert [loss for loss, _ in found] == expected and len(set(expected)) == count
    assert all(phases == {} for _, phases in found)


def test_a_recording_is_given_tensors_and_told_nothing_but_them():
    """What a step does in Python it may do once: all that changes comes in."""
    calls, given = [], []

    class Torch:
        tensor = staticmethod(tl.tensor)

        @staticmethod
        def capture(step):
            calls.append(step)
            return lambda *inputs: given.append(inputs) or step(*inputs)

    rates = iter([0.5, 0.25])
    program = works.Program(lambda: (next(rates), "kept"), lambda watch, rate, _: 2 * rate)
    step = works.captured(Torch, program)
    assert [step(), step()] == [(1.0, {}), (0.5, {})] and len(calls) == 1
    assert all(isinstance(rate, tl.Tensor) and word == "kept" for rate, word in given)


def test_dropout_is_in_its_four_places(monkeypatch):
    """Three modules for a model of one layer, and the weights of attention."""
    asked, F = [], tl.nn.functional
    attend = F.scaled_dot_product_attention

    def attention(*inputs, **settings):
        asked.append(settings["dropout_p"])
        return attend(*inputs, **settings)

    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    drawn = []
    monkeypatch.setattr(tl.nn.Dropout, "forward", lambda self, x: drawn.append(self.p) or x)
    works.eager(works.gpt(tl, lambda f: f, works.Size(1, 2, 8, 4, 2, 11, dropout=0.5)))()
    assert asked == [0.5] and drawn == [0.5] * 3


def test_without_pytorch_its_rows_are_missing_and_a_line_says_so(results, alone, capsys):
    step.main(["--work", "moons", "--repeats", "1", "--turns", "2", "--steps", "3", "--threads=1"])
    printed = capsys.readouterr().out
    assert "PyTorch is not installed" in printed and "no PyTorch to compare with" in printed
    kept = json.loads(
        (results / f"step-moons.{harness.short(harness.processor())}.json").read_text()
    )
    assert list(kept["results"]) == [OURS, harness.CAPTURED] and len(kept["gemm"]) == 2
    assert kept["machine"]["processor"] and kept["settings"]["threads"] == 1
    assert kept["settings"]["repeats"] == 2 == len(kept["results"][OURS])
    first, second = (turn["losses"] for turn in kept["results"][OURS])
    assert first == second and set(first) == {"1", "10", "100", "103"}
    with pytest.raises(SystemExit, match="PyTorch must be installed"):
        losses.main(["--works", "moons"])


@pytest.mark.parametrize("script", [ops, scaling])
def test_the_other_scripts_run_at_their_smallest(script, results, alone, capsys):
    script.main(["--smallest", "--repeats", "1", "--threads", "1"])
    assert "PyTorch is not installed" in capsys.readouterr().out
    (kept,) = results.glob("*-smallest.*.json")
    found = json.loads(kept.read_text())["results"]
    others = {ops: ops.COMPOSITION, scaling: scaling.GEMM}
    assert list(found) == [OURS, others[script]]
    if script is ops:
        measured = found[OURS][0]["fused"]["smallest"]
        assert set(measured) == set(ops.cases("smallest"))
        assert ops.fused_table(found, "smallest").count("\n") == len(measured) + 1
        assert measured["gelu"]["outputs"] == 6 * 16
        assert [*found[OURS][0]["loops"]] == [*ops.loops(tl)]
        assert ops.loops_table(found).count("\n") == len(ops.loops(tl)) + 1


def test_the_rows_are_those_that_can_run(monkeypatch, capsys):
    monkeypatch.setattr(harness, "has", lambda module: True)
    monkeypatch.setattr(harness.shutil, "which", lambda name: name)
    found = harness.rows(["x.py"], compile_too=True)
    assert len(found) == 6 and found[ALONE][1] == {"TINYGRAD_LM_COMPILED": "0"}
    assert all(bool(extra) == ("malloc" in n or n == ALONE) for n, (_, extra) in found.items())
    assert all(("--compile" in c) == ("torch.compile" in n) for n, (c, _) in found.items())
    both = harness.rows(["x.py"], compile_too=True, capture_too=True)
    assert both.pop(harness.CAPTURED) == ([*found[OURS][0], "--capture"], {}) and both == found
    monkeypatch.setattr(harness.shutil, "which", lambda name: None)
    assert len(harness.rows(["x.py"], compile_too=True)) == 4
    assert "no C++ compiler" in capsys.readouterr().out


def test_a_run_that_fails_is_an_error_with_its_last_words():
    broken = {"row": (["-c", "raise SystemExit('no such thing')"], {})}
    with pytest.raises(SystemExit, match="row must run, got:\nno such thing"):
        harness.alternate(broken, 1)


def test_runs_take_turns():
    runs = {n: (["-c", "import time; print(time.monotonic())"], {}) for n in "AB"}
    found = harness.alternate(runs, 2)
    assert found["A"][0] < found["B"][0] < found["A"][1] < found["B"][1]
    each = "import os, sys, time\nfor _ in sys.stdin:\n    "
    each += "print([os.getpid(), time.monotonic()], flush=True)"
    found = harness.alternate({n: (["-c", each], {}) for n in "AB"}, 2, turns=2)
    made = [[found[n][turn] for n in "AB"] for turn in range(4)]
    times = [time for pair in made for _, time in pair]
    assert times == sorted(times)
    assert [len({pid for pid, _ in found[n]}) for n in "AB"] == [2, 2]


def test_the_machine_is_described(monkeypatch):
    found = harness.machine()
    assert found["versions"]["numpy"] == np.__version__ and found["cores"] >= 1
    assert not any(str(value).startswith("/") for value in found.values())
    before = harness.sources()
    monkeypatch.setattr(harness, "CODE", (".typed",))
    assert len(before) == 12 and harness.sources() != before


def rates(**libraries):
    """Made-up rates of products, of one work with one and two threads."""
    known = {"loops": products.LOOPS, "blas": products.BLAS, "blis": "BLIS, one thread"}
    both = {known.get(k, k): {"step": rates, "products": {}} for k, rates in libraries.items()}
    second = {name: found for name, found in both.items() if "one thread" not in name}
    machine = {**MACHINE, "load_at_start": 1.0}
    return {**record("x"), "machine": machine, "results": {"mlp": {"1": both, "2": second}}}


def test_a_library_that_is_faster_is_named_and_where():
    """Ratios are taken turn by turn: MKL has 1.2 times our rate, and BLIS with one thread twice."""
    found = rates(loops=[10, 20, 40], blas=[10, 10, 30], MKL=[12, 24, 44], blis=[20, 40, 80])
    assert "| `mlp` | 1 | 20 | 10 | - | - | 24 | **40** |" in products.table(found)
    assert "| `mlp` | 2 | 20 | 10 | - | - | **24** | - |" in products.table(found)
    said = products.verdict(found)
    assert "2 of 2 lines: `mlp` with 1 (BLIS, one thread, 2.00), `mlp` with 2 (MKL, 1.20)." in said
    assert said.endswith("MKL comes next, with 1.20 of our rate: MKL would be worth taking in "
                         "their place.")  # fmt: skip
    found = rates(loops=[10, 20, 40], blas=[10, 10, 30])
    found["machine"]["load_at_start"] = 7.0
    said = products.verdict(found)
    assert "0 of 2 lines. " in said and "0.75 of our rate: none would" in said
    assert "a load of 7 on 2 cores" in said


def test_products_are_measured_right_and_added_to_those_of_the_same_code(results, monkeypatch):
    if not harness.has(harness.COMPILED):
        with pytest.raises(SystemExit, match="must be compiled"):
            products.main(["--works", "moons"])
        return
    monkeypatch.setattr(products, "there", lambda threads: [products.LOOPS, products.BLAS])
    for work in ("moons", "mlp"):
        products.main(["--works", work, "--turns", "1", "--threads", "1"])
    (path,) = results.glob("products.*.json")
    found = json.loads(path.read_text())["results"]
    assert list(found) == ["moons", "mlp"] and list(found["mlp"]["1"]) == [
        products.LOOPS,
        products.BLAS,
    ]
    assert len(found["mlp"]["1"][products.LOOPS]["products"]) == 2 * 3
    assert all(x["step"][0] > 0 for x in found["moons"]["1"].values())
    monkeypatch.setitem(
        products.LIBRARIES,
        "wrong",
        (lambda threads: lambda a, b, out: lambda: out.fill(0), lambda: True),
    )
    with pytest.raises(SystemExit, match="wrong must multiply right"):
        products.measured("wrong", "mlp", 1)


# ---------------------------------------------------------------- the report


@pytest.fixture
def pages(results, tmp_path, monkeypatch):
    """Empty pages with the real ones' marks, and a place for pictures."""
    for name, page in (("HERE", report.HERE), ("HOME", report.HOME)):
        marks = [line for line in page.read_text("utf-8").splitlines() if line.startswith("<!-- ")]
        monkeypatch.setattr(report, name, tmp_path / f"{name}.md")
        getattr(report, name).write_text("\n".join(["before", *marks, "after"]) + "\n", "utf-8")
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    return report


def test_the_report_keeps_figures_that_miss_their_target(results, pages):
    """gpt-cpu: 1.5 times ours as found (compiled), 2.0 with settings; baby GPT: 0.8."""
    for work in ("gpt-cpu", "baby-gpt", "moons"):
        found = record(work)
        if work == "baby-gpt":
            found["results"]["PyTorch, malloc settings"] = runs((8, 16, 32), peak=80.0)
        harness.save(f"step-{work}", found)
    harness.save("scaling", {**record("x"), "results": scaled(lambda v: 3 * v, lambda v: v)})
    report.main()
    text = report.HERE.read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `gpt-cpu` | Chip"))
    assert "torch.compile / eager" in row and "90 / 80 **missed** |" in row
    assert "1.50 (1.50 - 1.50), target 1.20 **met**" in row
    row = next(line for line in text.splitlines() if line.startswith("| `baby-gpt` | Chip"))
    assert "0.80 (0.80 - 0.80), target 1.10 **missed**" in row
    assert "- Missed on Chip 1 (AVX2) by `baby-gpt`: " in text
    assert text.startswith("before\n") and text.endswith("after\n")
    for picture in ("ratios.png", f"scaling.{HERE}.png", f"roofline.{HERE}.png"):
        assert f"(results/{picture})" in text
        assert (results / picture).read_bytes().startswith(b"\x89PNG")
    home = report.HOME.read_text("utf-8")
    assert "commit abc1234" in home and "with compiled kernels" in home
    assert "ms: 1.50 / 2.00 |" in home and "ms: 1.50 / **0.80** |" in home  # won, lost


def single_ops():
    """Made-up runs of ops.py: PyTorch takes twice our time in `add` and half of it in `max`; the
    fused op `good` wins everywhere, `mixed` loses at one size with malloc settings."""

    def run(add, most, good, mixed):
        def entries(**times):
            return {op: {"forward": t / 4, "backward": 3 * t / 4} for op, t in times.items()}

        fused = {"small": entries(good=good, mixed=2.0), "large": entries(good=good, mixed=mixed)}
        return [{"tiny": entries(add=add, max=most), "fused": fused}]

    return {
        OURS: run(1.0, 1.0, 1.0, 1.0),
        "PyTorch": run(2.0, 0.5, 3.0, 1.0),
        "PyTorch, malloc settings": run(2.0, 0.5, 3.0, 0.75),
    }


def test_the_report_of_a_gpu_takes_the_best_of_each_and_names_the_card(results, pages):
    """Ours takes 2 ms captured and 3 eager; PyTorch's best takes 5: 2.5 times ours."""

    head = {"machine": {"versions": {"numpy": "2.5"}}, "card": "A Card, 1.0, 2 MHz"}
    rows = [gpu_row("tinygrad_lm", "captured", 2.0), gpu_row("tinygrad_lm", "eager", 3.0)]
    rows += [gpu_row("torch", "compiled", 5.0), gpu_row("torch", "eager", 6.0)]
    lines = "\n".join(map(json.dumps, [head, *rows]))
    harness.RESULTS.mkdir(exist_ok=True)
    (harness.RESULTS / "cpu_vs_gpu.jsonl").write_text(lines, "utf-8")
    text = report.gpu_section({})
    line = next(line for line in text.splitlines() if "GPT-2" in line)
    assert (
        "| bfloat16 captured | 2 | 5,000 | 5 (bfloat16 compiled, of 2 measured) | **2.50** |"
        in line
    )
    assert "(A Card; numpy 2.5;" in text
    assert "Tests of CUDA" not in text and "writes a token" not in text
    account = "[1] tests: rc 0: 1234 passed, 5 skipped\n========= ERROR SUMMARY: 2 errors\n"
    account += "| tinygrad_lm | 14.3 (14 - 15) | 70 |\n| torch | 5.7 (5 - 6) | 176 |\n"
    (harness.RESULTS / "on_gpu.txt").write_text(account, "utf-8")
    said = " ".join(report.gpu_section({}).split())
    assert "1,234 passed, 5 skipped" in said and "memcheck: 2 errors" in said
    assert "a token in 14.3 ms, PyTorch's in 5.7 ms" in said and "racecheck" not in said
    for head, old in {
        "| engine | ms per token": True,
        "| texts | engine | ms per token": False,
    }.items():
        (harness.RESULTS / "on_gpu.txt").write_text(f"{head} |\n{account}", "utf-8")
        assert ("no GPU has run yet" in report.gpu_section({})) == old, head
    void = {**rows[2], "ms": [1.0], "losses": [9.0], "mode": "reduced"}
    (harness.RESULTS / "cpu_vs_gpu.jsonl").write_text(lines + "\n" + json.dumps(void), "utf-8")
    assert "**2.50**" in report.gpu_section({})


def test_the_verdict_counts_what_wins_and_names_what_loses(results, pages):
    for work in ("gpt-cpu", "moons", "rnn"):
        found = record(work)
        if work == "gpt-cpu":  # faster, with another loss
            found["results"]["PyTorch"] = runs((20, 60, 160), loss=2.1)
        if work == "moons":  # level as found, slower with settings
            found["results"]["PyTorch, torch.compile"] = runs((10, 20, 40), peak=300.0)
            found["results"]["PyTorch, malloc settings"] = runs((8, 16, 32), peak=90.0)
            found["results"][ALONE] = runs((20, 40, 80))
        if work == "rnn":  # faster, but not in each run
            found["results"]["PyTorch, torch.compile"] = runs((9, 30, 60), peak=300.0)
        harness.save(f"step-{work}", found)
    settings = {"threads": 2, "repeats": 2}
    for name, found in (("ops", single_ops()), ("scaling", scaled(lambda v: v, lambda v: v))):
        harness.save(name, {"settings": settings, "machine": MACHINE, "results": found})
    told = report.verdict_section(report.measured())
    head, _, *lines = told.splitlines()
    assert head.endswith("as found / with malloc settings | Chip 1 (AVX2) |")
    assert lines[:4] == [
        "| `moons` | 20.0 ms: 1.00 / **0.80** |",
        "| `rnn` | 20.0 ms: 1.50 / 2.00 |",
        "| `gpt-cpu` | 20.0 ms: 1.50 / 2.00 |",
        "| `gpt-cpu-avx2` | 20.0 ms: 1.50 / 2.00 |",  # there it is the plain step
    ]
    assert lines[5:8:2] == [
        "**Chip 1 (AVX2), 2 of 2 cores; numpy 2; with compiled kernels**; commit abc1234. Medians "
        "of 2 to 3 runs.",
        "- **Training steps**, beside PyTorch's fastest form: faster in 2 of 3 (`rnn` 1.50 / 2.00 "
        "to `gpt-cpu` 1.50 / 2.00), slower in `moons` 1.00 / 0.80. Single runs went down to `rnn` "
        "0.90.",
    ]
    assert "same steps: faster in 0 of 1, slower in `moons` 0.50 / 0.40." in told
    assert "no more in 1 of 3, more in `rnn`, 90 MB against 80 MB (PyTorch, malloc" in told
    assert "faster in 1 of 2 (`add` 2.00), slower in `max` 0.50." in told
    assert "faster at every size in 1 of 2, slower at some size in 1, which" in told
    assert lines[-3:] == [
        "| slower at some size | small | large |",
        "| --- | --- | --- |",
        "| `mixed` | 1.00 / 1.00 | 1.00 / **0.75** |",
    ]
    assert "faster in 0 of 20, level in `width 64` 1.00, `width 128` 1.00, " in told
    assert "slower in none. Our step never grows faster than its arithmetic." in told
    assert "PyTorch's in 2 of 3 steps, not in `gpt-cpu`; they are 5.0e-02 apart at most." in told


def test_a_processor_is_a_part_of_the_file_s_name():
    assert [
        harness.short(name)
        for name in (
            "AMD EPYC (AVX-512)",
            "AMD EPYC 7763 64-Core Processor (AVX2)",
            "Intel(R) Xeon(R) Platinum 8581C CPU @ 2.10GHz (AVX-512)",
            "Apple M2",
            "aarch64",
        )
    ] == ["avx512-epyc", "avx2-epyc-7763", "avx512-xeon-platinum-8581c", "m2", "aarch64"]
    assert re.fullmatch(r"[\w-]+", harness.short(harness.processor()))


def test_a_run_writes_the_record_of_its_own_processor(results):
    """And each one is a column; what was measured elsewhere by hand is another, with its source."""
    other = {**MACHINE, "processor": "Chip 2 (AVX-512)"}
    for machine, theirs in ((MACHINE, (20, 40, 80)), (other, (5, 10, 20))):
        found = record("mlp")
        found["results"]["PyTorch, torch.compile"] = runs(theirs)
        found["results"][harness.CAPTURED] = runs((5, 10, 20))
        harness.save("step-mlp", {**found, "machine": machine})
    kept = sorted(path.name for path in results.iterdir())
    assert kept == ["step-mlp.avx2-chip-1.json", "step-mlp.avx512-chip-2.json"]
    assert harness.load("step-mlp", "Chip 1 (AVX2)")["machine"] == MACHINE
    assert harness.load("step-mlp", "Chip 3") is None
    by_hand = {"processor": "Chip 3"}
    steps = [{"work": "mlp", "found": [0.9]}, {"work": "rnn", "ms": [2.5], "found": [1.2]}]
    harness.save("older", {"machine": by_hand, "source": "an older commit.", "steps": steps})
    told = report.verdict_section(report.measured()).splitlines()
    assert told[0].endswith("| Chip 1 (AVX2) | Chip 2 (AVX-512) | Chip 3 |")
    assert told[2:5] == [
        "| `mlp` | 20.0 ms: 2.00 / 2.00 | 20.0 ms: **0.50** / 2.00 | **0.90** / - |",
        "| `mlp`, captured | 10.0 ms: 4.00 / 4.00 | 10.0 ms: 1.00 / 4.00 | - |",
        "| `rnn` | - | - | 2.50 ms: 1.20 / - |",
    ]
    assert told[6] == "Chip 3: an older commit."
    assert [line[:15] for line in told if line.startswith("**Chip")] == [
        "**Chip 1 (AVX2)",
        "**Chip 2 (AVX-5",
    ]
    aimed = report.targets_section(report.measured()).splitlines()
    assert (
        "| `mlp`, captured | Chip 2 (AVX-512) | 10.0 | 1.00 (1.00 - 1.00), target 5.00" in aimed[5]
    )


def test_a_processor_with_avx512_is_measured_with_and_without(results, monkeypatch):
    wide = {**MACHINE, "processor": "Chip 2 (AVX-512)"}
    for name in ("gpt-cpu", "gpt-cpu-avx2"):
        found = record(name)
        if name == "gpt-cpu-avx2":
            found["results"][OURS] = runs((5, 10, 20))
        harness.save(f"step-{name}", found)  # the second is not looked at: there the plain one is
        harness.save(f"step-{name}", {**found, "machine": wide})
    found = {(r["processor"], r["work"]): r for r in report_steps.rows(report.measured())}
    assert np.median(found["Chip 1 (AVX2)", "gpt-cpu-avx2"]["ms"]) == 20
    assert np.median(found["Chip 2 (AVX-512)", "gpt-cpu-avx2"]["ms"]) == 10
    started = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(measure.subprocess, "run", lambda c, **_: started.append(c[3]) or done)
    monkeypatch.setattr(report, "main", lambda: None)
    for processor in ("Chip 1 (AVX2)", "Chip 2 (AVX-512)"):
        monkeypatch.setattr(harness, "processor", lambda name=processor: name)
        measure.main(["--only", "step-gpt-cpu"])
    assert started == ["gpt-cpu", "gpt-cpu", "gpt-cpu-avx2"]


def test_a_target_that_is_missed_says_why():
    """The committed results, all of them."""
    rows = report_steps.rows(report.measured())
    silent = {r["name"] for r in rows if report_steps.missed(r)}
    assert silent <= {verdict.named_step(*row) for row in report_steps.REASONS}
    assert set(report_steps.REASONS) <= set(report_steps.TARGETS)


def test_the_first_page_says_what_the_results_say():
    """The committed page, from the committed results."""
    page = report.HERE.read_text("utf-8").split("<!-- verdict -->\n")[1]
    assert page.split("<!-- /verdict -->")[0] == report.verdict_section(report.measured())


def test_the_report_of_nothing_is_empty_and_repeating_it_changes_nothing(pages):
    report.main()
    once = report.HERE.read_text("utf-8"), report.HOME.read_text("utf-8")
    assert "No result beside PyTorch yet." in once[0]
    report.main()
    assert once == (report.HERE.read_text("utf-8"), report.HOME.read_text("utf-8"))


def test_all_of_it_skips_what_the_same_code_measured(pages, results, monkeypatch, capsys):
    started = []

    def run(command, **_):
        started.append(command)
        return subprocess.CompletedProcess(command, int("mlp" in command))

    here = {**MACHINE, "processor": harness.processor(), "sources": "s1"}
    harness.save("step-moons", record("moons") | {"machine": here})
    harness.save("step-mlp", record("mlp") | {"machine": {**here, "processor": "elsewhere"}})
    monkeypatch.setattr(harness, "sources", lambda: "s1")
    monkeypatch.setattr(measure.subprocess, "run", run)
    with pytest.raises(SystemExit, match=r"failures in \['step-mlp'\]"):
        measure.main(["--only", "step-m"])
    assert len(started) == 1 and "mlp" in started[0]
    measure.main(["--only", "step-moons", "--fresh"])
    assert len(started) == 2 and "moons" in started[1]
    monkeypatch.setattr(harness, "sources", lambda: "s2")
    measure.main(["--only", "step-moons"])
    assert len(started) == 3
    started.clear()
    monkeypatch.setattr(measure, "is_done", lambda name: name == "step-moons")
    with pytest.raises(SystemExit, match="step-mlp"):
        measure.main(["--quick"])
    assert [c[3] for c in started[:3]] == ["mlp", "rnn", "gpt-cpu"]
    assert "ops.py" in started[-1][1] and "2" in started[-1]
    assert {f"step-{work}" for work, _ in report_steps.TARGETS} <= set(measure.QUICK)
    with pytest.raises(SystemExit, match="must begin one of step-moons"):
        measure.main(["--only", "nothing"])
