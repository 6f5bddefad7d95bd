"""Pictures are decoded and looked into: what is drawn where, in which colour, under which label.
The numbers behind them (PCA) are compared with NumPy's eigenvectors."""

import sys

import numpy as np
import pytest

import tinygrad_lm as tl
from tinygrad_lm.look import viz
from tinygrad_lm.look.study import LayerStats, LearningRates

pytest.importorskip("matplotlib")


def decode(path):
    """The PNG as floats (height, width, 3) in 0 ... 1."""
    from PIL import Image

    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    return np.asarray(Image.open(path).convert("RGB")) / 255


def pixel(image, axes, x, y):
    """The colour at the data point (x, y) of `axes`."""
    right, up = axes.transData.transform((x, y))
    return image[image.shape[0] - 1 - round(up), round(right)]


def test_pca_is_the_leading_eigenvectors_of_the_covariance():
    x = np.random.default_rng(0).normal(size=(40, 7)) * [5, 1, 1, 3, 1, 1, 1] + 10
    points, share = viz.pca(tl.tensor(x))
    values, vectors = np.linalg.eigh(np.cov(x.T))
    expected = (x - x.mean(0)) @ vectors[:, [-1, -2]]
    assert np.allclose(np.abs(points), np.abs(expected))
    assert np.allclose(np.abs((points * expected).sum(0)), (expected**2).sum(0))
    assert np.allclose(share, values[[-1, -2]] / values.sum())
    for seed in range(5):  # turning or mirroring the space changes nothing, signs included
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(7, 7)))[0]
        assert np.allclose(viz.pca(x @ turn)[0], points)


def test_pca_of_a_line_of_two_columns_and_of_too_few():
    line = np.outer(np.arange(5.0), [1, 2, 2])
    points, share = viz.pca(line)
    assert np.allclose(np.ptp(points, 0), [4 * 3, 0]) and np.allclose(share, [1, 0])
    pair = np.array([[0.0, 1], [2, 3], [5, 4]])
    assert np.array_equal(viz.pca(pair)[0], pair)
    with pytest.raises(ValueError, match=r"\[pca\] needs rows of two numbers or more"):
        viz.pca(np.ones((3, 1)))


@pytest.mark.parametrize("width", [2, 5])
def test_embeddings_are_drawn_where_they_are(tmp_path, width):
    weight = tl.randn(4, width, generator=tl.Generator().manual_seed(3), requires_grad=True)
    figure = viz.plot_embeddings(weight, "abcd", path=tmp_path / "e.png")
    (axes,) = figure.axes
    points = viz.pca(weight)[0]
    assert [t.get_text() for t in axes.texts] == list("abcd")
    assert np.allclose([t.get_position() for t in axes.texts], points)
    assert ("of the variance" in axes.get_xlabel()) == (width > 2)
    image = decode(tmp_path / "e.png")
    edge = 4 / np.abs(axes.transData.transform((1, 0)) - axes.transData.transform((0, 0))).max()
    for x, y in points:
        red, green, blue = pixel(image, axes, x - 1.1 * edge, y)  # beside the letter, in the disc
        assert blue > red + 0.1, (red, green, blue)
    with pytest.raises(ValueError, match=r"every row needs a label, got 4 and 3"):
        viz.plot_embeddings(weight, "abc")


def test_counts_are_darker_where_there_are_more(tmp_path):
    counts = tl.tensor([[0, 10, 40], [90, 160, 250], [360, 490, 640]])
    figure = viz.plot_counts(counts, "xyz", path=tmp_path / "c.png")
    (axes,) = figure.axes
    written = [t.get_text() for t in axes.texts]
    assert written[:4] == ["xx", "0", "xy", "10"] and written[-2:] == ["zz", "640"]
    image = decode(tmp_path / "c.png")
    corners = [pixel(image, axes, j + 0.42, i + 0.42).sum() for i in range(3) for j in range(3)]
    assert all(a > b for a, b in zip(corners, corners[1:])), corners


def test_attention_is_white_where_nobody_may_look(tmp_path):
    maps = np.tril(np.ones((2, 4, 4))) / np.arange(1, 5)[:, None]
    figure = viz.plot_attention(maps, "a b\n", path=tmp_path / "a.png")
    assert len(figure.axes) == 2
    assert len(viz.plot_attention(np.ones((6, 4, 4)), "abcd").axes) == 6
    image = decode(tmp_path / "a.png")
    for axes in figure.axes:
        assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "␣", "b", "↵"]
        assert pixel(image, axes, 3, 0).min() > 0.93  # (row 0, column 3): the future
        assert pixel(image, axes, 0, 0).sum() < pixel(image, axes, 0, 3).sum() < 3 * 0.93
    with pytest.raises(ValueError, match="every position needs a token"):
        viz.plot_attention(maps, "abc")


def test_the_boundary_is_where_the_score_changes_its_sign(tmp_path):
    points = [[-1.0, 0.0], [1.0, 0.0], [-1.0, 1.0], [1.0, 1.0]]
    asked = []

    def score(grid):
        asked.append(grid.shape)
        return 3 * grid[:, 0]

    figure = viz.plot_boundary(score, points, [-1, 1, -1, 1], path=tmp_path / "b.png", cells=30)
    (axes,) = figure.axes
    image = decode(tmp_path / "b.png")
    assert asked == [(900, 2)]
    left, right = pixel(image, axes, -0.9, 0.5), pixel(image, axes, 0.9, 0.5)
    assert left[0] > left[2] + 0.1 and right[2] > right[0] + 0.1  # red against blue
    assert min(pixel(image, axes, x, 0.5).max() for x in np.linspace(-0.03, 0.03, 13)) < 0.3


def test_the_learning_rate_picture_has_the_curve_its_average_and_the_mark(tmp_path):
    rates = np.geomspace(1e-3, 1, 50).tolist()
    found = LearningRates(rates, [abs(np.log10(r) + 1) + 2 for r in rates])
    figure = viz.plot_lr_finder(found, path=tmp_path / "r.png")
    (axes,) = figure.axes
    raw, smooth, mark = axes.lines
    assert raw.get_xdata().tolist() == rates and axes.get_xscale() == "log"
    assert smooth.get_ydata().tolist() == found.smoothed()[1]
    assert mark.get_xdata()[0] == found.suggestion == pytest.approx(0.1, rel=0.1)
    image = decode(tmp_path / "r.png")
    low, high = axes.get_ylim()
    column = [pixel(image, axes, found.suggestion, y).max() for y in np.linspace(low, high, 60)]
    assert min(column) < 0.1  # the dashed line


def test_bars_are_as_long_as_their_numbers_the_first_on_top(tmp_path):
    bars = {"slow": 1.0, "fast": 43.8, "faster": 5432.1}
    figure = viz.plot_bars(bars, path=tmp_path / "b.png", xscale="log", xlabel="times faster")
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == list(bars)
    assert [t.get_text() for t in axes.texts] == ["1", "44", "5,400"]
    assert axes.get_xscale() == "log" and axes.get_xlim()[1] > 2 * 5432.1  # room for the number
    image = decode(tmp_path / "b.png")
    for i, x in enumerate(bars.values()):
        red, green, blue = pixel(image, axes, 0.9 * x, i)
        assert blue > red + 0.1 and pixel(image, axes, 1.2 * x, i + 0.3).min() > 0.8
    down = [axes.transData.transform((1, i))[1] for i in range(3)]
    assert down == sorted(down, reverse=True)


def test_lines_and_layer_statistics(tmp_path):
    lines = {"a": ([0, 1, 2], [3, 4, 5]), "b": ([0, 1], [5, 3])}
    figure = viz.plot_lines(lines, marks={"here": 4.0}, xlabel="step", yscale="log")
    (axes,), (legend,) = figure.axes, figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["a", "b", "here"]
    assert axes.lines[1].get_ydata().tolist() == [5, 3] and axes.get_yscale() == "log"

    values = np.random.default_rng(1).uniform(-1, 1, 5000)
    stats = [LayerStats("1", "Tanh", values, values / 100, 0.25)]
    figure = viz.plot_stats(stats, path=tmp_path / "s.png", title="layers")
    curves = [axes.lines[0] for axes in figure.axes]
    areas = [np.diff(c.get_xdata())[0] * c.get_ydata().sum() for c in curves]
    assert np.allclose(areas, 1) and "25% saturated" in curves[0].get_label()
    assert decode(tmp_path / "s.png").shape == (360, 1000, 3)
    assert len(viz.plot_stats(stats, gradients=False).axes) == 1


def test_without_matplotlib_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad_lm\[plot\]'"):
        viz.plot_embeddings(np.eye(3), "abc")
