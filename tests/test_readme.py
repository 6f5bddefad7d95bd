"""The README keeps its word: its Python runs, and prints what its comments say it prints."""

import re
from pathlib import Path

import pytest

import tinygrad_lm as tl

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
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


def test_every_file_of_the_reading_order_exists():
    root = Path(tl.__file__).parent
    table = README.split("## Reading order")[1].split("## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.M)
    folder = ""
    for row in rows:
        for name in re.findall(r"`([^`]+)`", row):
            folder = str(Path(name).parent) if "/" in name else folder
            path = root / name if "/" in name else root / folder / name
            assert path.exists() or (root / name).exists(), name
