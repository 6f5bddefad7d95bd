"""What every test starts from: one thread per process, a fixed search, the same global state.
`--device cuda` makes another default device; with TINYGRAD_LM_CUPY_ON_CPU=1 its GPU is emulated.

It also keeps three promises: where `TINYGRAD_LM_REQUIRE_PARITY` is 1, PyTorch is said to be
present, and a test of a `test_parity_*.py` file that skips fails instead; so does a test marked
`cuda` where `TINYGRAD_LM_REQUIRE_CUPY` is 1, and one marked `mpi` where `TINYGRAD_LM_REQUIRE_MPI`
is.
"""

import importlib
import os

# Before anything imports numpy: pytest-xdist runs one process per core, and more threads only wait.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

REQUIRE_PARITY = os.environ.get("TINYGRAD_LM_REQUIRE_PARITY") == "1"
REQUIRE_CUPY = os.environ.get("TINYGRAD_LM_REQUIRE_CUPY") == "1"
REQUIRE_MPI = os.environ.get("TINYGRAD_LM_REQUIRE_MPI") == "1"

# The real CuPy on an emulated GPU (cupy_on_cpu/README.md). Before anything imports cupy.
NO_EMULATION = ""
if os.environ.get("TINYGRAD_LM_CUPY_ON_CPU") == "1":
    import cupy_on_cpu

    try:
        cupy_on_cpu.install()
    except cupy_on_cpu.CannotEmulate as error:
        if REQUIRE_CUPY:
            raise
        NO_EMULATION = str(error)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# The same examples in every run, so that a red test means changed code;
# `--hypothesis-profile=explore` looks for new ones and remembers what failed.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile("steady")


# What a fresh process has; a test may change any of it and need not put it back.
FRESH = {
    "manual_seed": 1337,
    "set_default_dtype": "float32",
    "set_default_device": "cpu",
    "set_grad_enabled": True,
}


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="the default device of every test")
    parser.addoption("--fuzz", type=int, default=200, help="cases of each kind in test_fuzz.py")


def pytest_collection_modifyitems(config, items):
    """The longest come first. Tests of CUDA skip with a sentence where its emulation lacks
    something; on another device those do that are written for the CPU."""
    # The examples train for a while: first, so that no worker is left with one at the end.
    items.sort(key=lambda item: not item.path.name.startswith(("test_examples", "test_bench")))
    if NO_EMULATION:
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason=NO_EMULATION))
    if config.getoption("--device") == "cpu":
        return
    from written_for_the_cpu import WHY

    for item in items:
        if reason := WHY.get(getattr(item, "originalname", item.name)):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def fresh_state(request):
    """Give each test the seed, default dtype, default device and grad mode of a fresh process."""
    try:
        tg = importlib.import_module("tinygrad_lm")
    except ImportError:  # a law about the files of the project runs without the package
        return
    device = request.config.getoption("--device")
    for name, value in {**FRESH, "set_default_device": device}.items():
        if hasattr(tg, name):
            getattr(tg, name)(getattr(tg, value) if value == "float32" else value)


@pytest.fixture(scope="session")
def gpu():
    """CuPy, where it finds a GPU, be it an emulated one."""
    cupy = pytest.importorskip("cupy")
    if not cupy.is_available():
        pytest.skip("CuPy finds no GPU")
    return importlib.import_module("tinygrad_lm.engine.arrays").cupy()


@pytest.fixture(scope="session")
def emulated_gpu():
    """The emulated GPU: it counts launches, copies and waits, and can be made small or run
    backwards. A real one does none of that."""
    cupy_on_cpu = importlib.import_module("cupy_on_cpu")
    if not cupy_on_cpu.installed():
        pytest.skip("only an emulated GPU can be looked into")
    return cupy_on_cpu


def promised(node):
    """What this test may count on, so that it may not skip. Two GPUs are no promise: those tests
    are run in a process of their own, where two are emulated."""
    if "two_gpus" in getattr(node, "fixturenames", ()):
        return ""
    if node.get_closest_marker("cuda"):
        return "CuPy" if REQUIRE_CUPY else ""
    if node.get_closest_marker("mpi"):
        return "an MPI" if REQUIRE_MPI else ""
    return "PyTorch" if REQUIRE_PARITY and node.path.name.startswith("test_parity_") else ""


def fail_if_skipped(report, node):
    """Turn a skip into a failure where there is a promise; xfail stays."""
    what = promised(node)
    if what and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"[tests] {what} is promised here, so nothing may skip; got: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector):
    """A whole parity file that skips (a module-level importorskip) counts too."""
    return fail_if_skipped((yield), collector)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    """So does a single test that skips, by mark, fixture or call."""
    return fail_if_skipped((yield), item)
