"""Pages of PyTorch that public scripts import, against PyTorch at run time: `testing`, `random`,
`functional`, `profiler`, more of `utils.data`, and settings that only have to be there."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from parity import BOTH  # noqa: E402

import tinygrad_lm as tg  # noqa: E402
from tinygrad_lm.aliases import PYTORCH  # noqa: E402

for page in ("testing", "random", "functional", "profiler", "accelerator", "multiprocessing"):
    getattr(tg, page)  # loaded

CLOSE = """
T([1., 2.]), T([1., 2.1]) | T([1., 2.]), T([1, 2]) | T([1., 2.]), T([1., 2., 3.])
T([[1., 2.], [3., 4.]]), T([[1., 5.], [3., 9.]]) | T([nan]), T([nan]) | T([1, 2]), T([1, 3])
[1., 2.], [1., 2.1] | [1, 2], [1, 2, 3] | {'a': 1.}, {'b': 1.} | 1., 1.1 | 1, 2 | True, False
{'a': T([1.]), 'b': T([2.])}, {'a': T([1.]), 'b': T([3.])} | 1, 1.0 | T([1.]), [1.] | None, None
T([1.]), np.array([1.]) | np.array([1.]), np.array([2.]) | 'a', 'a' | None, 1 | T(1.), T(2.)
T([True, False]), T([True, True]) | T([1., 2.]).half(), T([1., 2.1]).half() | (1.,), [1.]
T([1., 2.]).bfloat16(), T([1., 2.01]).bfloat16() | T([1., 2.]).bfloat16(), T([1., 2.1]).bfloat16()
T([1.]), T([1.]).double() | [[1., 2.]], [[1., 3.]] | T([inf]), T([inf]) | T([inf, 1.]), T([1., 1.])
1., nan | nan, nan | 1., T(1.) | T([]), T([1.]) | T([3]).char(), T([5]).char() | T([0.]), T([1.])
0., 1. | T([[1, 2]]), T([[1], [2]]) | T([nan, 1]), T([1., 1.]) | T([nan]), T([nan]), equal_nan=True
T([1., 2.]), T([1., 2.1]), rtol=0.1 | T([1., 2.]), T([1., 2.1]), rtol=0.1, atol=0 | T([]), T([])
T([1., 2.]), T([1., 2.1]), rtol=0, atol=0 | T([1.]), T([1.]).double(), check_dtype=False
T([1.]), T([1.5]).double(), check_dtype=False | T([1., 2.]), T([1., 2.1]), msg='hey'
[T([1., 2.])], [T([1., 2.1])], msg=lambda m: 'X ' + m | T([1, 2]), T([1, 3]), atol=2, rtol=0
T([[1., 2.]] * 2).t(), T([[1., 1.], [2., 2.]]), check_stride=True | np.float32(1), 1.
[], [] | {}, {} | [T([1]), {'k': (1, T([2.]))}], [T([1]), {'k': (1, T([3.]))}] | {1: 2}, {1: 2}
T([0, 200]).byte(), T([5, 3]).byte() | T([1.], requires_grad=True), T([2.])
P(T([1.])), T([1.]), allow_subclasses=False | T([1.]), T([1.000001]) | T([1.]), T([1.00002])
T([1.]).double(), T([1.00000001]).double() | T([1.]).double(), T([1.000001]).double()
"""
LINES = [part for row in CLOSE.split("\n") for part in row.split(" | ") if part]


def verdict(library, function, line):
    names = {"T": library.tensor, "P": library.nn.Parameter, "np": np, "nan": np.nan, "inf": np.inf}
    try:
        return eval(f"f({line})", {"f": getattr(library.testing, function), **names})
    except AssertionError as error:
        return str(error)
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("line", LINES)
def test_assert_close_says_what_pytorch_says(line):
    want, got = (verdict(library, "assert_close", line) for library in BOTH)
    assert want == got


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "line", ["T([1.]), [1.00001]", "T([1.]), [1.1]", "[1.], T([1.0001])", "T([nan]), T([nan])"]
)
def test_assert_allclose(line):
    want, got = (verdict(library, "assert_allclose", line) for library in BOTH)
    assert want == got


@pytest.mark.parametrize("enabled", [True, False])
def test_fork_rng_leaves_the_stream_as_it_was(enabled):
    def draws(library):
        library.manual_seed(3)
        with library.random.fork_rng(enabled=enabled):
            inside = library.rand(3)
        library.random.manual_seed(4) if enabled else None
        with library.random.fork_rng(devices=[]):
            library.manual_seed(9)
        return inside.tolist() + library.rand(2).tolist()

    want, got = map(draws, BOTH)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_datasets_beside_and_after_each_other():
    def seen(library):
        data = library.utils.data
        a, b = (data.TensorDataset(library.arange(3) + i) for i in (0, 10))
        stacked, by_name = data.StackDataset(a, b), data.StackDataset(x=a, y=b)

        class Count(data.IterableDataset):
            def __iter__(self):
                return iter([1, 2])

            def __len__(self):
                return 2

        chain = data.ChainDataset([Count(), Count()])
        loader = data.DataLoader(by_name, batch_size=2)
        batches = [(batch["x"][0].tolist(), batch["y"][0].tolist()) for batch in loader]
        wrong = 0
        for parts, named in (((a, [1]), {}), ((), {}), ((a,), {"b": b})):
            with pytest.raises(ValueError):
                data.StackDataset(*parts, **named)
            wrong += 1
        return (
            len(stacked),
            repr(stacked[1]),
            repr(by_name[2]),
            [*chain],
            len(chain),
            batches,
            wrong,
        )

    want, got = map(seen, BOTH)
    assert want == got


def test_schedules_of_the_profiler():
    for named in ({"repeat": 2}, {"skip_first": 3}, {}):
        plans = [lib.profiler.schedule(wait=1, warmup=2, active=2, **named) for lib in BOTH]
        want, got = ([plan(step).name for step in range(20)] for plan in plans)
        assert want == got


def test_the_profiler_is_read_alike():
    def table(library):
        p = library.profiler
        x = library.ones(3, requires_grad=True)
        ready = []
        with p.profile(activities=[p.ProfilerActivity.CPU], on_trace_ready=ready.append) as prof:
            for _ in range(2):
                with p.record_function("mine"):
                    library.exp(x).sum().backward()
        row = next(row for row in prof.key_averages() if row.key == "mine")
        assert row.cpu_time_total > row.self_cpu_time_total > 0 and ready == [prof]
        lines = prof.key_averages().table(sort_by="cpu_time_total", row_limit=1).split("\n")
        return row.count, lines[1].split(), lines[3].split()[0], lines[-2].split(":")[0]

    want, got = map(table, BOTH)
    assert want == got


def test_settings_are_kept():
    def settings(library):
        library.use_deterministic_algorithms(True, warn_only=True)
        kept = library.are_deterministic_algorithms_enabled()
        kept = kept, library.is_deterministic_algorithms_warn_only_enabled()
        library.use_deterministic_algorithms(False)
        library.set_warn_always(False)
        with pytest.raises(TypeError):
            library.use_deterministic_algorithms(3)
        with pytest.raises(RuntimeError):
            library.set_num_interop_threads(0)
        off = library.are_deterministic_algorithms_enabled(), library.is_warn_always_enabled()
        return (
            kept,
            off,
            library.is_distributed(library.ones(1)),
            type(library.set_flush_denormal(False)),
        )

    want, got = map(settings, BOTH)
    assert want == got


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is said without a GPU")
def test_without_a_gpu():
    assert tg.accelerator.current_accelerator() is None is torch.accelerator.current_accelerator()
    assert tg.accelerator.device_count() == torch.accelerator.device_count() == 0
    assert tg.version.cuda is None and not tg.accelerator.is_available()
    for library in BOTH:
        with pytest.raises(RuntimeError):
            library.accelerator.synchronize()


@pytest.mark.parametrize("name", PYTORCH)
def test_every_alias_is_a_module_of_pytorch(name):
    """Whose classes and functions that are ours have its names."""
    import importlib

    theirs = importlib.import_module(f"torch.{name}")
    ours = importlib.import_module(f"tinygrad_lm.{name}")
    assert set(vars(ours)) & set(vars(theirs)) - {"__doc__", "__name__"}


def test_functions_by_their_former_paths():
    x = tg.ones(2, 3)
    assert (tg.functional.F.softmax(x, dim=1) == 1 / 3).all() and hasattr(torch.functional, "F")
    assert tg.functional.einsum is tg.einsum and tg.functional.split is tg.split
    with pytest.raises(AttributeError, match="torch.functional"):
        tg.functional.nothing  # noqa: B018
    assert tg.nn.modules.linear.Linear is tg.nn.modules.Linear is tg.nn.Linear
    assert tg.multiprocessing.cpu_count() == torch.multiprocessing.cpu_count()
    assert {r.name for r in tg.distributed.ReduceOp} < set(dir(torch.distributed.ReduceOp))
