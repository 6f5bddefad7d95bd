"""A GPU against the CPU: what is measured and in which order, how it is timed, what a row must show
to count, and everything once on an emulated GPU. Nothing here judges a time."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_lm as tl

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import cpu_vs_gpu  # noqa: E402
import crossover  # noqa: E402
import generate  # noqa: E402
import harness  # noqa: E402
import step  # noqa: E402
import sweeps  # noqa: E402
import windows  # noqa: E402
import works  # noqa: E402
import writers  # noqa: E402
from device_works import On  # noqa: E402
from sweeps import OURS, SWEEPS, THEIRS, cases  # noqa: E402

# ---------------------------------------------------------------- what is measured


def test_every_work_comes_at_its_first_size_before_any_comes_again():
    for module, device in itertools.product((OURS, THEIRS), ("cuda", "cpu")):
        found = [case.work for case in cases(module, device)]
        first = list(dict.fromkeys(found))
        assert found[: len(first)] == first
        assert set(SWEEPS) - set(first) == {n for n, s in SWEEPS.items() if not s.cpu} - set(found)
        assert device == "cpu" or set(first) == set(SWEEPS)


def test_pytorch_has_its_best_form_and_we_a_captured_one():
    theirs = {case[:1] + case[2:] for case in cases(THEIRS, "cuda")}
    assert ("baby", "bfloat16", "reduced") in theirs and ("baby", "bfloat16", "compiled") in theirs
    assert ("mlp", "float32", "reduced") in theirs and ("gpt2", "bfloat16", "compiled") in theirs
    assert ("generation", "bfloat16", "reduced") in theirs
    assert {case.mode for case in cases(THEIRS, "cpu")} == {"eager", "compiled"}
    ours = cases(OURS, "cuda")
    kinds = {"steps": {"captured", "eager"}, "ops": {"eager"}}
    for name, sweep in SWEEPS.items():
        modes = {case.mode for case in ours if case.work == name}
        assert modes == (kinds.get(sweep.kind) or modes) or name == "generation"
        dtypes = {case.dtype for case in ours if case.work == name and sweep.kind == "steps"}
        assert dtypes <= {"float32", "tf32", "bfloat16"} and len(dtypes) != 1
    assert {c.mode for c in ours if c.work == "transfer"} == {
        "pageable",
        "pinned",
        "asynchronous",
        "download",
    }


def test_what_is_asked_for_is_what_comes():
    assert {case.work for case in cases(OURS, "cuda", only=["steps"])} == {
        name for name, sweep in SWEEPS.items() if sweep.kind == "steps"
    }
    found = cases(THEIRS, "cuda", only=["gpt2"], sizes=[64], dtypes=["bfloat16"])
    assert found == [("gpt2", 64, "bfloat16", "eager"), ("gpt2", 64, "bfloat16", "compiled")]
    assert all(case.mode != "compiled" for case in cases(THEIRS, "cuda", quick=True))


def test_a_column_gets_its_share_of_what_is_left(monkeypatch, tmp_path):
    """PyTorch's return at once, and their seconds go to the others: 0.3 of the time, then twice 0.3
    of 0.7 of what is left, and so on."""
    now, given = [0.0], []

    def one_process(column, seconds, args, out):
        given.append((column[2], round(seconds)))
        now[0] += 0 if column[0] == THEIRS else seconds

    monkeypatch.setattr(cpu_vs_gpu, "has_gpu", lambda module: True)
    monkeypatch.setattr(harness, "has", lambda module: True)
    monkeypatch.setattr(cpu_vs_gpu.os, "cpu_count", lambda: 16)
    monkeypatch.setattr(cpu_vs_gpu, "one_process", one_process)
    monkeypatch.setattr(cpu_vs_gpu.time, "time", lambda: now[0])
    monkeypatch.setattr(crossover, "show", lambda path: None)
    cpu_vs_gpu.main(["--budget", "300", "--out", str(tmp_path / "rows.jsonl")])
    assert given == [(0, 90), (0, 90), (0, 52), (2, 52), (0, 52), (2, 105)]


@pytest.mark.parametrize("torch", [False, True])
def test_without_a_gpu_a_sentence_says_what_is_missing(torch, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cpu_vs_gpu, "has_gpu", lambda module: False)
    monkeypatch.setattr(harness, "has", lambda module: torch or module not in ("torch", "cupy"))
    asked = ["--only", "mlp", "--quick", "--budget", "30", "--out", str(tmp_path / "rows.jsonl")]
    ours = {c: s for c, s in cpu_vs_gpu.COLUMNS.items() if c != (THEIRS, "cpu")}
    monkeypatch.setattr(cpu_vs_gpu, "COLUMNS", ours if torch else cpu_vs_gpu.COLUMNS)
    cpu_vs_gpu.main(asked)
    said = capsys.readouterr().out
    missing = "ours on a GPU (no GPU was found), PyTorch on a GPU (no GPU was found)."
    if not torch:
        missing = "ours on a GPU (CuPy is not installed), PyTorch on a GPU (PyTorch is not "
        missing += "installed), PyTorch on the CPU (PyTorch is not installed)."
    assert said.splitlines()[0] == f"Not measured here: {missing}"
    _, rows = crossover.load(tmp_path / "rows.jsonl")
    threads = {row["threads"] for row in rows}
    assert {r["device"] for r in rows} == {"cpu"} and os.cpu_count() in threads
    assert all("uploading_ms" not in r and r["ms"] for r in rows)
    text = (tmp_path / "rows.md").read_text()
    assert "### the MLP of makemore" in text and "**A trial**" in text


# ---------------------------------------------------------------- how it is timed


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when a step says so."""
    now = [0.0]
    monkeypatch.setattr(windows.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    "seconds, steps",
    [
        ([2, 1, 0.5, 0.5, 0.5, 0.5], 4),  # two agree, and there are four
        ([2, 1, 0.5, 0.4, 0.3, 0.3], 6),
        ([1 / 2**i for i in range(12)], 10),  # never
        ([4, 3, 2, 1, 0.5, 0.5], 4),  # five seconds are over
    ],
)
def test_a_step_warms_up_until_two_agree(seconds, steps, clock):
    given = iter(seconds)

    def run():
        clock[0] += next(given)
        return tl.tensor(3.0)

    losses = []
    assert windows.warm_up(run, lambda: None, losses) == pytest.approx(seconds[:steps])
    assert losses == [3.0] * steps


def test_a_window_tells_the_host_from_the_device(clock):
    """A step takes the host 0.01 s, and the device, which nobody waits for meanwhile, 0.04 s."""
    queued, waits = [0.0], []

    def run():
        clock[0] += 0.01
        queued[0] += 0.03
        return tl.tensor(1.0)

    def wait():
        waits.append(1)
        clock[0] += queued[0]
        queued[0] = 0.0

    found = windows.timed(run, run, wait, {"reading": lambda: (run(), wait())})
    assert found["steps"] == 5 and len(found["ms"]) == 5
    assert found["host_ms"] == pytest.approx([10.0] * 5) and found["ms"] == pytest.approx(
        [40.0] * 5
    )
    assert found["reading_ms"] == pytest.approx(40.0)
    assert len(waits) == 4 + 2 * 7 + 5


# ---------------------------------------------------------------- what a row must show


def row(module=OURS, device="cuda", mode="eager", losses=(4.0, 3.0), **other):
    known = {"work": "mlp", "size": 32, "dtype": "float32", "programs": 2, "threads": 2}
    known |= {"ms": [2.0], "host_ms": [1.0], "first_ms": 1.0, "reading_ms": 2.5, "tokens": 32}
    known |= {"flops": 1e9, "moved": 0.0, "peak_mb": 1.0}
    given = {"module": module, "device": device, "mode": mode, "losses": list(losses)}
    return {**known, **given, **other}


@pytest.mark.parametrize(
    "losses, other, agree",
    [
        ((4.0, 3.0), {}, True),
        ((4.0, 3.01), {}, False),
        ((4.0, 3.01), {"dtype": "bfloat16"}, True),
        ((4.0, float("nan")), {}, False),
        ((4.0, 3.01), {"programs": 1}, None),
        ((4.0, 3.01), {"size": 512}, None),
    ],
)
def test_a_row_counts_whose_losses_are_the_cpu_s(losses, other, agree):
    rows = [row(device="cpu"), row(losses=losses, **other)]
    assert crossover.agrees(rows[1], rows) is agree
    line = crossover.cells(rows[1], rows, {})
    assert line[1].startswith("void: 4 ") == (agree is False)


def test_a_loss_that_falls_to_nothing_is_a_share_of_the_first():
    rows = [row(device="cpu", losses=(4.0, 1e-7)), row(losses=(4.0, 0.0))]
    assert crossover.agrees(rows[1], rows)


def test_a_line_says_rate_share_and_what_a_batch_from_the_host_costs():
    product = row(work="matmul", size=2048, tokens=0, flops=134e9, ms=[2.0])
    rows = [row(flops=67e9, mode="captured", uploading_ms=3.0), product]
    products = crossover.rates(rows)
    assert products == {"ours GPU float32 eager": 67e12}
    found = dict(zip(crossover.HEAD, crossover.cells(rows[0], rows, products)))
    assert found["reading each"] == "2.500" and found["batch from the host"] == "3.000"
    assert found["MFU"] == "50.0%" == found["of products"].replace("%", ".0%")
    assert found["per second"] == "16,000" and found["host / device"] == "0.50"


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_pytorch_writes_what_we_write(mode, monkeypatch):
    """The same weights, so the same logits, as long as both have the same ids: those drawn differ,
    which is why PyTorch's are held to its own without a cache."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "compile", lambda f, **given: f)
    size, ids = works.Size(2, 2, 16, 8, 2, 40, bias=True), [[3, 1, 7], [2, 9, 4]]
    ours = next(writers.ours(On(tl, "cpu"), size, 8)(tl.tensor(ids), 1))
    write = writers.theirs(On(torch, "cpu", mode=mode), size, 8)
    seen, found = torch.tensor(ids), []
    torch.manual_seed(1)
    for logits in write(seen, 4):
        found.append(logits)
    torch.manual_seed(1)
    assert abs(found[0].numpy() - ours.numpy()).max() < 1e-6
    model = writers.drawn(torch, works.gpt_class(torch)(works.Size(2, 2, 16, 8, 2, 40, bias=True)))
    torch.manual_seed(1)
    with torch.no_grad():
        for logits in found:
            expected = model.logits_of(seen)[:, -1]
            assert (logits - expected).abs().max() < 1e-6
            probs = expected.softmax(-1)
            chosen = (probs / torch.empty_like(probs).exponential_(1)).argmax(-1, keepdim=True)
            seen = torch.cat([seen, chosen], 1)


# ---------------------------------------------------------------- on an emulated GPU

needs_cupy = pytest.mark.skipif(
    not harness.has("cupy") or sys.platform == "win32", reason="the rehearsal needs CuPy and bash"
)


@needs_cupy
def test_a_gpu_is_rehearsed_on_the_cpu(tmp_path):
    """All phases of the script for a GPU, on CuPy's emulation, at the smallest sizes."""
    settings = {"REHEARSE": "1", "OUT": str(tmp_path), "PYTHON": sys.executable}
    script = ["bash", str(FOLDER / "on_gpu.sh")]
    done = subprocess.run(
        script, env={**os.environ, **settings}, capture_output=True, text=True, timeout=400
    )
    summary = (tmp_path / "summary.txt").read_text()
    log = (tmp_path / "log.log").read_text()
    phases = re.findall(r"^\[(\d)\] (\w+): rc (\d+)", summary, re.M)
    assert [p for p, _, _ in phases] == list("01123456789"), summary
    assert all(rc == "0" for _, _, rc in phases), done.stdout + log
    assert re.search(r"^\| 1 \| tinygrad_lm \| .* \| [\d.]+ \| [\d.]+ \|", summary, re.M)
    _, rows = crossover.load(tmp_path / "rows.jsonl")
    on_gpu = [r for r in rows if r["device"] == "cuda"]
    assert {r["work"] for r in on_gpu} == set(SWEEPS)
    assert all("error" not in r and crossover.agrees(r, rows) is not False for r in rows), rows
    for r in on_gpu:
        assert ("uploading_ms" in r) == (SWEEPS[r["work"]].kind == "steps")
    assert {"cpu", "cuda"} == {r["device"] for r in rows if r["work"] == "matmul"}
    assert "### From which size on" in (tmp_path / "rows.md").read_text()
    assert len(json.loads((tmp_path / "curve.json").read_text())["curve"]) == 3
    assert len(list(tmp_path.iterdir())) <= 8  # more does not come back from some machines


@pytest.mark.parametrize("script", [step, generate])
def test_a_script_for_a_gpu_says_that_there_is_none(script, monkeypatch, capsys):
    monkeypatch.setattr(cpu_vs_gpu, "has_gpu", lambda module: False)
    with pytest.raises(SystemExit):
        script.main(["--work", "gpt-cpu", "--device", "cuda"])
    assert "none was found" in capsys.readouterr().err


def test_a_table_without_rows_is_no_table(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"machine": {}, "card": ""}) + "\n")
    assert crossover.report(tmp_path / "rows.jsonl") == "(no GPU; )\n"


@needs_cupy
def test_a_step_on_a_gpu_has_tokens_a_second_and_mfu(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(cpu_vs_gpu, "REHEARSED", "cupy_on_cpu")
    monkeypatch.setenv("REHEARSE_WITH", "cupy_on_cpu")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent / "tests"))
    monkeypatch.setattr(windows, "ENOUGH", 0.01)
    step.main(["--work", "moons", "--device", "cuda", "--dtype", "bfloat16"])
    table = capsys.readouterr().out.split("### two moons on tensors")[1]
    head, _, *lines = [x for x in table.splitlines() if x.startswith("| ")]
    for line in lines:
        found = dict(zip(head.split(" | "), line.split(" | ")))
        assert "GPU bfloat16" in found["column"] and found["MFU"].endswith("%")
        assert int(found["per second"].replace(",", "")) > 0
    assert len(lines) == 2
    with pytest.raises(SystemExit):
        step.main(["--work", "moons", "--dtype", "bfloat16"])
    assert sweeps.SWEEPS[step.ON_GPU["gpt2-b4"][0]].axis == "batch"
