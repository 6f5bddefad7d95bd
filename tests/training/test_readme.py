"""The README keeps its word: its Python runs, and prints what its comments say it prints."""

import re
from pathlib import Path

import pytest

import tinygrad_lm as tl
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.tokenizers import BPETokenizer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_first_example_is_fifteen_lines_and_prints_the_loss_it_says(capsys):
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) == 15
    promised = re.search(r"print\(loss\)\s+# (.*)", BLOCKS[0]).group(1)
    exec(BLOCKS[0], {})
    assert capsys.readouterr().out.strip() == promised


def test_the_op_of_the_readme_has_the_gradient_it_says():
    names = {"tl": tl, "__name__": "readme"}
    exec(BLOCKS[1], names)
    promised = re.search(r"x\.grad is (.*)", BLOCKS[1]).group(1)
    assert repr(names["x"].grad) == promised
    wrong = tl.primitive(lambda x: (x**3, (lambda g: g * 2 * x**2,)))
    with pytest.raises(Exception, match="gradcheck"):
        tl.gradcheck(wrong, [names["x"]])


def test_gpt2s_files_are_read_continued_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tokenizer = BPETokenizer.train("Once upon a time. " * 20, 280)
    GPT(GPTConfig(16, 280, 1, 1, 8, activation="gelu_new")).save_pretrained("for-others", tokenizer)
    names = {}
    exec(BLOCKS[2], names)
    assert capsys.readouterr().out and names["piece"].logprob <= 0
    written = [Path(folder, "model.safetensors").read_bytes() for folder in ("for-others", "again")]
    assert written[0] == written[1]


def test_the_captured_step_of_the_readme_trains():
    """On the CPU capture is the step itself; on a GPU tests/fast/test_cuda_capture.py looks."""
    model = tl.nn.Linear(2, 1)
    names = {"tl": tl, "optimizer": tl.optim.SGD(model.parameters(), lr=0.1)}
    names["model"] = lambda x, y: (None, (model(x) - y).square().mean())
    exec(BLOCKS[3], names)
    x = tl.randn(8, 2)
    first, last = [names["step"](x, x.sum(1, keepdim=True)).item() for _ in range(20)][::19]
    assert last < first / 10


def test_the_picture_is_that_of_the_first_example(capsys):
    names = {}
    exec(BLOCKS[0], names)
    weights = {"w1": names["w1"], "w2": names["w2"]}
    (path,) = re.findall(r"!\[[^]]*\]\((examples/pictures/.*?svg)\)", README)
    assert (ROOT / path).read_text() == tl.draw_graph(names["loss"], weights)


def reading_order():
    """Rows of the two tables: the files and folders that each names, and its other cells."""
    table = README.split("## Reading order")[1].split("\n## ")[0]
    for row in re.findall(r"^\| (`.*) \|$", table, re.M):
        first, *others = row.split(" | ")
        yield [ROOT / "tinygrad_lm" / name for name in re.findall(r"`([^`]+)`", first)], others


def test_every_file_of_the_reading_order_exists():
    named = {path for paths, _ in reading_order() for path in paths}
    assert [path for path in named if not path.exists()] == []
    rooms = {path.parts[len(ROOT.parts) + 1] for path in named} | {"autograd.py", "cli.py"}
    there = {
        p.name for p in (ROOT / "tinygrad_lm").iterdir() if not p.name.startswith(("_", "py."))
    }
    assert there - rooms - {"moved.py"} == set()


def test_an_afternoon_has_the_lines_it_says():
    """Within ten in a hundred, and not a line beyond the 500 of the core."""
    rows = [(paths, others) for paths, others in reading_order() if len(others) == 2]
    assert len(rows) == 4
    for paths, (lines, _) in rows:
        files = [f for p in paths for f in (p.rglob("*.py") if p.is_dir() else [p])]
        found = sum(f.read_text().count("\n") for f in files)
        assert abs(found - int(lines)) <= int(lines) / 10, (paths, found)
