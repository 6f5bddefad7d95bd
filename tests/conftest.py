"""What every test starts from: one thread per process, a fixed search, the same global state.

It also keeps a promise: where `TINYGRAD_LM_REQUIRE_PARITY` is 1, PyTorch is said to be present, and
a test of a `test_parity_*.py` file that skips fails instead.
"""

import importlib
import os

# Before anything imports numpy: pytest-xdist runs one process per core, and more threads only wait.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# The real CuPy on an emulated GPU (cupy_on_cpu/README.md). Before anything imports cupy.
if os.environ.get("TINYGRAD_LM_CUPY_ON_CPU") == "1":
    import cupy_on_cpu

    cupy_on_cpu.install()

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

REQUIRE_PARITY = os.environ.get("TINYGRAD_LM_REQUIRE_PARITY") == "1"


# What a fresh process has; a test may change any of it and need not put it back.
FRESH = {
    "manual_seed": 1337,
    "set_default_dtype": "float32",
    "set_default_device": "cpu",
    "set_grad_enabled": True,
}


@pytest.fixture(autouse=True)
def fresh_state():
    """Give each test the seed, default dtype, default device and grad mode of a fresh process."""
    try:
        tg = importlib.import_module("tinygrad_lm")
    except ImportError:  # a law about the files of the project runs without the package
        return
    for name, value in FRESH.items():
        if hasattr(tg, name):
            getattr(tg, name)(getattr(tg, value) if value == "float32" else value)


def fail_if_parity_skipped(report, node):
    """Turn a skip into a failure where PyTorch is promised; xfail and tests marked `cuda` stay."""
    promised = REQUIRE_PARITY and node.path.name.startswith("test_parity_")
    excused = hasattr(report, "wasxfail") or node.get_closest_marker("cuda")
    if promised and report.skipped and not excused:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"[parity] PyTorch is promised here, so nothing may skip; got: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector):
    """A whole parity file that skips (a module-level importorskip) counts too."""
    return fail_if_parity_skipped((yield), collector)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    """So does a single test that skips, by mark, fixture or call."""
    return fail_if_parity_skipped((yield), item)
