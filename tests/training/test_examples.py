"""Every step of the ladder runs in its fast form, without a network, and beats the floor it prints.

The known answers (micrograd's 24.7041, bigram losses by hand) come from outside; the table, the
pictures and the map in `examples/README.md` are held to what the files say.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_lm as tl

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
STEPS = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
BIGRAM = EXAMPLES / "02_bigram.py"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")


def run(file, *options, **environment):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-W", "error", str(file), *map(str, options)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import common

    return common


@pytest.fixture
def run_all(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import run_all

    return run_all


@pytest.fixture
def fast(request, tmp_path):
    """(rows by name, what was printed) of a step in its fast form, or with the options given, on
    the built-in text."""
    number, options = request.param
    file = next(path for path in STEPS if path.name.startswith(number))
    places = ["--out", tmp_path, "--json", tmp_path / "rows"]
    done = run(file, "--data", "builtin", *places, *options.split())
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    for row in rows:
        if "picture" in row:
            assert (tmp_path / row["picture"]).stat().st_size > 2000
            assert row["title"] or row["picture"].endswith(".svg")
    return {row["what"]: row for row in rows if "what" in row}, done.stdout


def step(number, options=""):
    return pytest.mark.parametrize("fast", [(number, options)], indirect=True)


@step("00")
def test_microgpt(fast):
    """Eight forms of one algorithm: what they print agrees, and only the time does not."""
    rows, printed = fast
    table = printed.split("losses differ by\n")[1].splitlines()[:8]
    differ = [float(line.split()[-1]) for line in table[:7]]
    assert max(differ) < 5e-6 and table[7].endswith("(another algorithm)")
    names = [line[:34].strip() for line in table]
    value, number, *tensors = [rows[f"{name}: times faster"]["ours"] for name in names]
    assert value == 1 < number and min(tensors) > 20
    assert rows["all 200 steps: largest difference"]["ours"] < 5e-5
    for what in ("a name", "32 names"):
        assert rows[f"{what} a step: dev"]["ours"] < rows[f"{what} a step: dev"]["floor"]
    assert len(printed.split("new names:")[1].splitlines()[0].split()) > 10


@step("01")
def test_micrograd(fast):
    rows, printed = fast
    for what, known in (("", 24.7041), ("its gradient in a", 138.8338), ("in b", 645.5773)):
        row = next(row for name, row in rows.items() if name.endswith(what or "expression"))
        assert row["ours"] == pytest.approx(known, abs=5e-5)
    assert "measured slope in a: 138.8338" in printed and "337 parameters" in printed
    assert rows["two moons, accuracy in %"]["ours"] > 80
    assert float(re.search(r"matrix products: largest difference (\S+)", printed)[1]) < 1e-12


@step("02")
def test_bigram(fast):
    rows, printed = fast
    counted, smoothed = (rows[f"bigrams counted, + {n}"]["ours"] for n in (0, 1))
    net = rows["bigram net, without"]
    assert counted < smoothed < net["ours"] < counted + 0.1  # the net can only come close
    assert net["ours"] < net["floor"] - 0.5


@step("03", "--steps 1000")
def test_mlp(fast):
    rows, printed = fast
    *_, last = rows.values()
    assert last["what"].endswith("dev") and last["ours"] < last["floor"]
    assert re.search(r"view .*same values True, same memory True", printed)
    assert re.search(r"cat .*same values True, same memory False", printed)
    assert "view refuses" in printed and "by hand nan" in printed
    losses = re.findall(r"by hand (\S+), fused (\S+)", printed)
    assert losses[0][0] == losses[0][1] == losses[1][1]
    found = float(re.search(r"the loss is lowest around (\S+);", printed)[1])
    assert 0.01 < found < 1
    assert float(re.search(r"overfitted: loss ([\d.]+)", printed)[1]) < 1


@step("04", "--steps 1000")
def test_activations(fast):
    rows, printed = fast
    for what in ("+ quiet output", "+ Kaiming", "+ batch norm"):
        assert rows[f"{what}: dev"]["ours"] < rows[f"{what}: dev"]["floor"]
    starts = re.findall(r"before training (\S+) \(ln \d+ = ([\d.]+)\), (\d+)% of tanh", printed)
    first, quiet, kaiming, norm = [(float(a), float(b), int(c)) for a, b, c in starts]
    assert first[0] > 10 and all(abs(a - ln) < 0.1 for a, ln, _ in (quiet, kaiming, norm))
    assert first[2] > 50 > kaiming[2] > norm[2]
    shrinks, kept = re.findall(r"std of outputs ([\d.]+)", printed)[:2]
    assert float(shrinks) < 0.5 < float(kept)


@step("05", "--steps 1000")
def test_backprop_by_hand(fast):
    rows, printed = fast
    assert rows["largest difference of any gradient"]["ours"] < 1e-6
    compared = re.findall(r"^(\w+) +(exact|close) ", printed, re.M)
    assert {"logits", "inv", "var", "C", "gain", "h"} < {name for name, _ in compared}
    assert len(compared) == 26 + 7 and "05_graph.svg" in printed
    last = rows["trained without autograd: dev"]
    assert last["ours"] < last["floor"]


def test_every_step_has_a_test_a_place_on_the_ladder_and_a_line_in_the_map(run_all):
    tests = "".join(p.read_text("utf-8") for p in Path(__file__).parent.glob("test_examples*.py"))
    tested = re.findall(r'^@step\("(\d\d)"', tests, re.M)
    names = [path.name for path in STEPS]
    assert sorted(set(tested)) == [name[:2] for name in names]
    assert [step.file for step in run_all.LADDER] == names
    table = README.split("<!-- map -->")[1].split("<!-- /map -->")[0]
    figures = README.split("<!-- figures -->")[1].split("<!-- /figures -->")[0]
    assert table.startswith(f"\n| {run_all.HEAD} |\n")
    assert re.findall(r"^\| \[(\d\d_\w+\.py)\]", table, re.M) == names
    assert re.findall(r"^### (\S+)\n", figures, re.M) == names
    for step in run_all.LADDER:
        commands = [f"`python examples/{step.file} {options}`" for options in step.runs]
        assert all(text in table for text in (run_all.lecture(step), step.teaches, commands[-1]))
        assert step.compared in figures
        assert len(commands) == 1 or all(command in figures for command in commands), step.file
    for path in STEPS:
        head = path.read_text(encoding="utf-8").split('"""')[1]
        assert re.search(r"\d:\d\d|https:", head) and f"python examples/{path.name} --full" in head


def test_a_lecture_is_linked_at_its_first_minute(run_all):
    about = ("teaches", "compared")
    link = run_all.lecture(run_all.Step("a.py", "makemore part 4, a part", "1:54 to 2:00", *about))
    assert link == "[makemore part 4](https://youtu.be/q8SA3rM6ckI?t=6840), a part, 1:54 to 2:00"
    unknown = run_all.lecture(run_all.Step("a.py", "a lecture", "0:01", *about))
    assert unknown == f"[a lecture]({run_all.COURSE}), 0:01" and f"]({run_all.COURSE})" in README
    page = run_all.lecture(run_all.Step("a.py", "microgpt", "", *about))
    assert page == f"[microgpt]({run_all.PAGES['microgpt']})"
    known = run_all.VIDEOS.keys() | run_all.PAGES.keys()
    assert {step.lecture.split(",")[0] for step in run_all.LADDER} == known


def test_pictures_are_small_and_the_readme_shows_only_what_exists():
    pictures = list((EXAMPLES / "pictures").iterdir())
    assert pictures and all(path.stat().st_size < 150_000 for path in pictures)
    shown = set(re.findall(r"\(pictures/([^)]+)\)", README))
    assert shown and shown <= {path.name for path in pictures}


STUB = """
import sys, json, pathlib
rows = open(sys.argv[sys.argv.index('--json') + 1], 'a')
row = {'what': 'loss', 'ours': 2.5, 'reference': None, 'floor': 3.25}
print(json.dumps(row), file=rows)
print(json.dumps({'picture': '01_the_start.png'}), file=rows)
log = open(pathlib.Path(__file__).with_name('ran'), 'a')
print('ran', *sys.argv[1:3], file=log)
"""
INTERRUPT = """
import os, pathlib, signal, time
pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))
os.kill(os.getppid(), signal.SIGINT)
time.sleep(60)
"""


@pytest.fixture
def stubs(run_all, tmp_path, monkeypatch):
    """A ladder of two files that take no time: (what calls it, its README)."""
    (tmp_path / "01_a.py").write_text(STUB)
    (tmp_path / "02_b.py").write_text(STUB.replace("2.5", "1e-08"))
    readme = tmp_path / "README.md"
    marks = [f"<!-- {name} -->\nold\n<!-- /{name} -->" for name in ("map", "figures")]
    readme.write_text("\n".join(["before", *marks, "after", ""]))
    runs = ("--stage x --full", "--full")
    ladder = [
        run_all.Step("01_a.py", "part 1", "0:01", "counting", "compared with nothing", runs),
        run_all.Step("02_b.py", "part 2", "0:02", "more", "compared with 01"),
    ]
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    monkeypatch.setattr(run_all, "LADDER", ladder)

    def call(*options):
        where = ["--folder", str(tmp_path / "out"), "--readme", str(readme)]
        monkeypatch.setattr(sys, "argv", ["run_all.py", *where, *options])
        run_all.main()

    return call, readme


def test_figures_and_seconds_of_one_call_become_map_and_figures(stubs, tmp_path):
    call, readme = stubs
    call("--fresh")
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    head = "| file | lecture, minutes | what it teaches | command | time |\n"
    table, figures = text.split(head)[1].split("<!-- /map -->")
    _, first, second = table.splitlines()
    about = (
        "| [01_a.py](01_a.py) | [part 1](https://karpathy.ai/zero-to-hero.html), 0:01 | counting"
    )
    assert first == f"{about} | `python examples/01_a.py --full`, the last of 2 runs | 0 s in all |"
    assert second.endswith("0:02 | more | `python examples/02_b.py --full` | 0 s |")
    first, second = figures.split("### 02_b.py\n")
    lines = "| figure | ours | floor |\n| --- | --- | --- |\n" + "| loss | 2.5000 | 3.2500 |\n" * 2
    assert f"### 01_a.py\n\ncompared with nothing\n\n{lines}" in first
    assert "- `python examples/01_a.py --stage x --full`: 0 s, [the start](pictures/" in first
    assert "\ncompared with 01\n" in second and "| loss | 1.0e-08 | 3.2500 |" in second
    assert "Pictures: [the start](pictures/01_the_start.png)." in second
    assert "3 of 3 runs by `python examples/run_all.py --fresh` in one call, begun 20" in text
    assert f"threads: {tl.get_num_threads()}, cores: {os.cpu_count()}; python 3." in text
    assert str(tmp_path) not in text


def test_a_page_is_not_replaced_by_nothing(stubs):
    call, readme = stubs
    before = readme.read_text()
    with pytest.raises(SystemExit, match="keeps its figures: no run is finished in"):
        call("--table")
    assert readme.read_text() == before


def test_what_is_finished_is_kept_until_it_is_asked_for_afresh(stubs, tmp_path):
    call, readme = stubs
    ran = tmp_path / "ran"
    call("--only", "01")
    assert ran.read_text() == "ran --stage x\nran --full --out\n"
    assert readme.read_text().count("not run yet") == 2  # in the map and in the figures
    call()
    call()
    assert ran.read_text().count("ran") == 3
    assert "2 of 3 runs by `python examples/run_all.py --only 01`" in readme.read_text()
    call("--fresh", "--only", "02")
    assert ran.read_text().count("ran") == 4


def test_a_run_that_fails_is_named_with_what_it_printed_and_the_others_go_on(stubs, tmp_path):
    call, readme = stubs
    (tmp_path / "01_a.py").write_text("raise SystemExit('no luck')")
    with pytest.raises(SystemExit, match=r"no luck[^$]*\[run_all\] 01_a-x must end with 0, got 1"):
        call("--fresh")
    text = readme.read_text()
    assert "| 1.0e-08 |" in text and text.count("| not run yet |") == 3
    assert "- `python examples/01_a.py --full`: not run yet\n" in text


def test_an_interrupt_keeps_what_is_finished_and_ends_the_run(stubs, tmp_path):
    call, readme = stubs
    (tmp_path / "02_b.py").write_text(INTERRUPT)
    with pytest.raises(SystemExit, match="what is finished is kept"):
        call("--fresh")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    (tmp_path / "02_b.py").write_text(STUB)
    call()
    assert (tmp_path / "ran").read_text().count("ran") == 3
    assert "2 of 3 runs by `python examples/run_all.py --fresh`" in readme.read_text()


def words(common, tmp_path, text):
    (tmp_path / "words.txt").write_text(text, encoding="utf-8")
    return common.Names(argparse.Namespace(data=str(tmp_path / "words.txt")))


def test_names_are_split_windowed_and_counted_as_by_hand(common, tmp_path):
    names = words(common, tmp_path, "\n".join(["ab"] * 9 + ["ba"]))
    assert (len(names.train), len(names.dev), len(names.test)) == (8, 1, 1)
    assert names.characters == [".", "a", "b"]
    X, Y = names.windows(["ab", "b"], 2)
    assert X.tolist() == [[0, 0], [0, 1], [1, 2], [0, 0], [0, 2]] and Y.tolist() == [1, 2, 0, 2, 0]
    # .a, ab, b. once each, and one more of everything: (1 + 1) / (1 + 3)
    assert names.bigram_loss(["ab"], ["ab"]) == pytest.approx(math.log(2))
    assert names.bigram_loss(["ab"], ["a"]) == pytest.approx(
        -(math.log(2 / 4) + math.log(1 / 4)) / 2
    )


def test_of_a_text_the_lower_case_words_are_taken(common, tmp_path):
    text = "The quick brown fox jumps over the lazy dog. " * 2 + "Is done well it now"
    expected = "quick brown fox jumps over the lazy done well now".split()
    assert words(common, tmp_path, text).words == expected
    with pytest.raises(SystemExit, match=r"at least 10 words, got 9 .*one name per line\?"):
        words(common, tmp_path, text.replace("now", ""))


def test_words_come_from_the_model_and_losses_from_all_rows(common, tmp_path):
    names = words(common, tmp_path, "\n".join(["ab"] * 10))
    table = tl.tensor([[-99.0, 99, -90], [-99, -80, 99], [99, -99, -99]])  # . -> a -> b -> .
    assert names.sample(lambda x: table[x[:, -1]], block=2, count=3) == ["ab"] * 3
    X, Y = names.windows(names.words, 2)
    expected = tl.nn.functional.cross_entropy(0.01 * table[X[:, -1]], Y).item()
    for chunk in (7, 30, 1000):  # 30 rows: a last chunk of 2 must weigh 2 rows
        loss = common.mean_loss(lambda x: 0.01 * table[x[:, -1]], X, Y, chunk)
        assert loss == pytest.approx(expected, abs=1e-6)


def test_without_a_network_the_text_that_python_carries_takes_over(tmp_path):
    closed = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}
    closed |= {name.upper(): address for name, address in closed.items()} | {"no_proxy": ""}
    done = run(
        BIGRAM, "--steps", 1, "--out", tmp_path, TINYGRAD_LM_DATA=str(tmp_path / "none"), **closed
    )
    assert done.returncode == 0, done.stderr
    assert "names could not be downloaded" in done.stdout and "bigrams counted, + 1" in done.stdout


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--steps", "0"], "[--steps] must be at least 1, got 0"),
        (["--data", "no-such-file"], "[load_text] a text must be"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_a_wrong_option_is_named(options, complaint, tmp_path):
    done = run(BIGRAM, "--out", tmp_path, *options)
    assert done.returncode != 0 and complaint in done.stderr


def test_a_short_run_says_so_beside_its_reference(common, capsys):
    args = argparse.Namespace(steps=3000, whole=200_000, usual="names", data="names", json=None)
    common.result(args, "a", 2.8718, 2.1260, 2.4548)
    common.result(args, "b", 2.8718, None, 2.4548)
    common.result(args, "c", 24.7041, 24.7041, trained=False)
    args.steps = args.whole
    common.result(args, "d", 2.8718, 2.1260)
    said = [" ".join(line.split()[1:]) for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "ours 2.8718 (short: 3,000 steps) reference 2.1260 (200,000 steps) floor 2.4548",
        "ours 2.8718 floor 2.4548",
        "ours 24.7041 reference 24.7041",
        "ours 2.8718 reference 2.1260",
    ]


def test_a_long_run_in_a_pipe_gives_signs_of_life(common, capsys, monkeypatch):
    seconds = iter(range(0, 1000, 4))
    monkeypatch.setattr(common.time, "monotonic", lambda: next(seconds))
    assert list(common.progress(7)) == list(range(7))
    said = capsys.readouterr().err.splitlines()
    assert said and set(said) < {f"... step {i} of 7" for i in range(7)} and len(said) < 4


def test_a_missing_matplotlib_costs_one_line(common, tmp_path, capsys):
    def plot(path):
        raise ImportError("[viz] a picture needs matplotlib")

    args = argparse.Namespace(out=tmp_path / "new", json=tmp_path / "rows")
    common.picture(args, "x.png", plot)
    assert capsys.readouterr().out == "no picture: [viz] a picture needs matplotlib\n"
    assert not (tmp_path / "rows").exists()


def test_a_python_float_keeps_its_digits_in_float64():
    """tensor(0.1, dtype=float64) went through float32; micrograd's measured slope showed it."""
    assert tl.tensor(0.1, dtype=tl.float64).item() == 0.1
    assert tl.tensor([[0.1]], dtype=tl.float64).tolist() == [[0.1]]
