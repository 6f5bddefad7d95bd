"""Laws about the project itself: who imports whom, how long things are, which files must agree.

Every law is a function from sources to a list of complaints, and `BROKEN` shows each complain."""

import ast
import fnmatch
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "tinygrad_lm"

# The page: all of the engine's core; more than 500 since 16-bit floats are computed in float32, and
# threads may share a leaf. An afternoon: the page, the two files of ops to start with,
# the model and its training; a hundred lines more since it writes with a cache and loads GPT-2, and
# twenty since ranks share out the batches of a step, and windows may come in an order.
CORE = "engine/core/"
CORE_LINES = 520
AFTERNOON_LINES = 1690
RECORDING = re.compile(r"engine/capture/(tape|traced)\.py")  # of a step on the CPU, to be read
RECORDING_LINES = 400
AFTERNOON = re.compile(
    r"engine/core/.*|engine/ops/(elementwise|fused)\.py|models/gpt\.py|training/trainer\.py"
)
# Of C: nobody needs it to understand an op, so it must not grow. What is there is there because
# NumPy or its BLAS was slower than PyTorch: products of matrices (290 lines: two thirds of a GPT's
# step; OpenBLAS's bits depend on the number of threads), convolution (165: twice as long on BLAS),
# pooling (106: two to five times), rows, norms, activations and losses (560: up to ten times),
# attention (235), positions and sums so far (170: two to ten times), text at the rate at which
# memory gives the weights (80), random numbers (50); threads (125), vectors (150), and the doors
# from Python (610).
# The recorder is written out for reading: a line for each slot it fills, a name for each step; one
# for the thread that wrote in place.
# Of CUDA C++ as well: what a GPU needs to be fast, kernel by kernel beside its composition; of
# late attention of float32, in TF32 and in three products of it (40), and of one query (65).
COMPILED_LINES = {"_fast.c and its loops": 2580, "recorder.c": 676, "CUDA": 1705}
FILE_LINES = 400
FUNCTION_LINES = {CORE: 30, "": 59}
# Longer than its rule allows: "path" or "path:function" -> (most lines, why).
LONGER: dict[str, tuple[int, str]] = {
    "engine/kernels/numpy/attention.py:attention": (90, "both directions share what a block knows"),
}

# Imports go from a later row to an earlier one, or stay in their row; "" is the package's __init__.
ROWS = (
    ("engine.arrays",),
    ("engine.core", "engine.random"),
    ("engine.sparse",),
    ("engine.ops",),
    ("engine.inplace", "engine.kernels"),
    ("engine.pytorch",),
    ("engine.gradcheck", "engine.drawing", "engine.capture", "engine.several_gpus"),
    ("aliases", "engine"),
    ("autograd", "nn", "ranks"),
    ("optim", "saving"),
    ("data", "text"),
    ("pages", "models", "look"),
    ("training", "serving", "cli"),
    ("", "__main__", "as_torch", "micrograd"),
)
ROW = {name: number for number, row in enumerate(ROWS) for name in row}
# The one arrow that runs up, for type checkers alone: a Tensor's type includes its methods, and
# theirs include Tensor. At run time `pytorch/methods.py` binds them from above.
FOR_TYPES_ALONE = {("tinygrad_lm.engine.core.tensor", "tinygrad_lm.engine.pytorch.methods")}

TOP_LEVEL = {
    "tinygrad_lm",
    "tests",
    "benchmarks",
    "examples",
    "setup.py",
    "README.md",
    ".ci",
    ".gitignore",
    "LICENSE",
    "CHANGELOG.md",
    "pyproject.toml",
}
REQUIRED = {"numpy", "ml_dtypes", "safetensors", "tqdm", "threadpoolctl"}
EXTRAS = {
    "cupy",
    "flask",
    "hypothesis",
    "matplotlib",
    "mpi4py",
    "sentencepiece",
    "tiktoken",
    "tokenizers",
    "torch",
}
# Extras that a file may look for while it loads: a dtype exists or not; a CUDA kernel file loads
# on first use only.
MAY_LOOK_FOR = {"engine/kernels/cuda/": {"cupy"}}
TEST_COMMAND = re.compile(r"\bpython3? -m pytest[^\n`\"'&|;)\\]*")
INSTALL = re.compile(r"\bpip install.*\[(?:test|parity|emulated|mpi|mpich|,)+\]\S*")
EMULATED = "emulated() { step "  # how the check script runs tests on an emulated GPU
NOT_OURS = re.compile(
    r"(?<![\w.])/(?:home|root|work|farm|Users)/"
    r"|\b(?:pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org)"
    r"|index[-]url\b"
)

Sources = dict[str, str]  # path below the root -> text


def project_paths() -> list[str]:
    """Every file that is or would be committed; without git, what .gitignore does not name."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return sorted(p for p in done.stdout.split("\0") if p and (ROOT / p).is_file())
    ignored = [".git", *(ROOT / ".gitignore").read_text().split()]

    def ours(path: Path) -> bool:
        return not any(fnmatch.fnmatch(part, p) for part in path.parts for p in ignored)

    found = (p.relative_to(ROOT) for p in ROOT.rglob("*") if p.is_file())
    return sorted(p.as_posix() for p in found if ours(p))


def read(paths: list[str]) -> Sources:
    return {path: (ROOT / path).read_text(encoding="utf-8", errors="replace") for path in paths}


def package_sources() -> Sources:
    return read([p for p in project_paths() if p.startswith(PACKAGE + "/") and p.endswith(".py")])


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: str, sources: Sources) -> list[tuple[str, str, bool]]:
    """All imports of a file, in functions too: (module, name taken from it, runs while loading)."""
    modules = {module_name(p) for p in sources}
    package = module_name(path).split(".")
    if not path.endswith("/__init__.py"):
        package.pop()
    found: list[tuple[str, str, bool]] = []

    def visit(node: ast.AST, now: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, "", now) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.append((inner, "", now) if inner in modules else (base, alias.name, now))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, False)
        else:
            later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            for child in ast.iter_child_nodes(node):
                visit(child, now and not later)

    visit(ast.parse(sources[path]), True)
    return found


def room(module: str) -> str:
    """`tinygrad_lm.nn.layers` -> `nn`, `tinygrad_lm.engine.ops.fused` -> `engine.ops`; the package
    itself -> ``."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2] if parts[:1] == ["engine"] else parts[:1])


def is_ours(module: str) -> bool:
    return module.split(".")[0] == PACKAGE


def law_imports_go_down(sources: Sources) -> list[str]:
    complaints = []
    for path in sources:
        here = room(module_name(path))
        if here not in ROW:
            complaints.append(f"{path}: {here} is in no row of ROWS")
            continue
        for module, _, now in imports(path, sources):
            if is_ours(module) and ROW.get(room(module), len(ROWS)) > ROW[here]:
                if now or (module_name(path), module) not in FOR_TYPES_ALONE:
                    complaints.append(f"{path} imports {module}, which is above it")
    return complaints


def law_no_cycles(sources: Sources) -> list[str]:
    """Between files, also by imports in functions and for type checkers. A package's `__init__` may
    load what is in it, whose files do not look back at it."""
    paths = {module_name(path): path for path in sources}
    graph = {
        name: {
            m
            for m, _, _ in imports(path, sources)
            if m in paths and not name.startswith(m + ".") and m != name != PACKAGE
            if (name, m) not in FOR_TYPES_ALONE
        }
        for name, path in paths.items()
    }
    done: set[str] = {PACKAGE}
    complaints = []

    def walk(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            complaints.append("cycle: " + " -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in sorted(graph[name]):
                walk(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        walk(name, ())
    return complaints


def law_rooms_refuse(sources: Sources) -> list[str]:
    """The core imports `arrays/` only, and neither NumPy nor what takes its place; ops import no
    array library and no kernel; kernels import neither Tensor nor layers. Only the door imports the
    recorder in C."""
    complaints = []
    for path in sources:
        is_door = path.endswith("kernels/c/recorder.py")
        for module, name, _ in imports(path, sources):
            parts = {*module.split("."), name}
            if "/engine/core/" in path and (module_name(path), module) not in FOR_TYPES_ALONE:
                if parts & {"numpy", "cupy"} or (
                    is_ours(module) and room(module) not in ("engine.core", "engine.arrays")
                ):
                    complaints.append(f"{path} is the core and imports {module}")
            if "/engine/ops/" in path and parts & {"numpy", "cupy", "kernels"}:
                complaints.append(f"{path} is an op and imports {module}")
            if (
                "/kernels/" in path
                and not is_door
                and ("Tensor" in parts or is_ours(module) and parts & {"tensor", "nn"})
            ):
                complaints.append(f"{path} is a kernel and imports {module} {name}".rstrip())
            if parts & {"_recorder", "recorder"} and path != f"{PACKAGE}/engine/__init__.py":
                complaints.append(f"{path} imports the recorder in C; its door is recorder.py")
        if re.search(r"\b_recorder\b", sources[path]) and not is_door:
            complaints.append(f"{path} names the recorder in C; its door is recorder.py")
    return complaints


def law_extras_wait(sources: Sources) -> list[str]:
    """While modules load, only what setup.py requires."""
    complaints = []
    for path in sources:
        allowed = {PACKAGE, *REQUIRED, *sys.stdlib_module_names}
        short = path.removeprefix(PACKAGE + "/")
        allowed.update(*(extra for place, extra in MAY_LOOK_FOR.items() if short.startswith(place)))
        for module, _, now in imports(path, sources):
            if now and module.split(".")[0] not in allowed:
                complaints.append(f"{path} imports {module} at its top; import it where it is used")
    return complaints


def test_the_compiled_loops_stay_few():
    kinds = (".c", ".h", ".cu", ".cuh")
    ours = [p for p in project_paths() if p.startswith(PACKAGE + "/") and p.endswith(kinds)]
    counted = dict.fromkeys(COMPILED_LINES, 0)
    for path, text in read(ours).items():
        folder = "cuda" if ".cu" in path else "c"
        assert path.startswith(f"{PACKAGE}/engine/kernels/{folder}/"), path
        name = "CUDA" if folder == "cuda" else Path(path).name
        counted[name if name in counted else next(iter(counted))] += text.count("\n")
        comment = (
            r"(//.*\n){2,5}(?!//)" if folder == "cuda" else r"/\*(?:(?!\*/)[^\n]*\n){1,4}.*\*/"
        )
        assert re.match(comment, text), f"{path}: say in 2 to 5 lines at the top what it is"
        assert max(map(len, text.splitlines())) <= 100, path
    for what, most in COMPILED_LINES.items():
        assert 0 < counted[what] <= most, (what, counted[what])


def law_lengths(sources: Sources) -> list[str]:
    """The line budget, file by file, function by function; and no exception that nobody needs."""
    complaints = []
    short = {path.removeprefix(PACKAGE + "/"): text for path, text in sources.items()}
    for what, most, inside in (
        ("the core", CORE_LINES, re.compile(re.escape(CORE) + ".*")),
        ("an afternoon's reading", AFTERNOON_LINES, AFTERNOON),
        ("recording a step", RECORDING_LINES, RECORDING),
    ):
        total = sum(text.count("\n") for path, text in short.items() if inside.fullmatch(path))
        if total > most:
            complaints.append(f"{what} has {total} lines, at most {most}; what can go?")
    measured = {}  # what -> (lines, rule)
    for path, text in short.items():
        measured[path] = (text.count("\n"), FILE_LINES)
        rule = next(most for place, most in FUNCTION_LINES.items() if path.startswith(place))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                prose = len((ast.get_docstring(node, clean=False) or "").splitlines())
                lines = (node.end_lineno or 0) - node.lineno + 1 - prose
                what = f"{path}:{node.name}"
                measured[what] = max(measured.get(what, (0, 0)), (lines, rule))
    for what, (lines, rule) in measured.items():
        most, why = LONGER.get(what, (rule, ""))
        if lines > most:
            complaints.append(f"{what} has {lines} lines, at most {most}; split it?")
        if why and lines <= rule:
            complaints.append(f"{what} has {lines} lines and needs no exception")
    return complaints + [f"{what} is excepted and gone" for what in LONGER.keys() - measured.keys()]


def law_prose_heads(sources: Sources) -> list[str]:
    """Every file opens with a docstring that says in a sentence or more what it is."""
    complaints = []
    for path, text in sources.items():
        head = re.sub(r"\b(?:e\.g|i\.e|vs)\.", "", ast.get_docstring(ast.parse(text)) or "")
        if not re.search(r"[.!?](?=\s|$)", head):
            complaints.append(f"{path}: say at the top, in a sentence, what it is")
    return complaints


def law_top_level(paths: list[str]) -> list[str]:
    return sorted(f"{top} at the top level" for top in {p.split("/")[0] for p in paths} - TOP_LEVEL)


def law_nothing_foreign(sources: Sources) -> list[str]:
    """No path of somebody's machine and no package registry: a checkout works anywhere."""
    return [
        f"{path} names {hit.group()}"
        for path, text in sources.items()
        if (hit := NOT_OURS.search(text))
    ]


def law_public_names(module: ModuleType) -> list[str]:
    names = list(module.__all__)
    complaints = [f"{name} is missing" for name in names if not hasattr(module, name)]
    complaints += [f"{name} is listed twice" for name in {n for n in names if names.count(n) > 1}]
    complaints += [f"{n} is private" for n in names if n.startswith("_") and n != "__version__"]
    public = {n for n, v in vars(module).items() if n[0] != "_" and not isinstance(v, ModuleType)}
    return complaints + [f"{name} is not in __all__" for name in sorted(public - set(names))]


def law_light_import(root: Path, attempts: int = 3, limit: float = 0.5) -> list[str]:
    """Importing the package takes under half a second of processor time, which other processes do
    not lengthen (best of three, so with the bytecode that the first has kept), and loads no extra.
    """
    program = (
        "import sys, time; start = time.process_time(); import tinygrad_lm; "
        "print(time.process_time() - start, *{name.split('.')[0] for name in sys.modules})"
    )
    best, loaded = float("inf"), set()
    with tempfile.TemporaryDirectory() as kept:
        names = {"PYTHONPATH": str(root), "PYTHONPYCACHEPREFIX": kept}
        environment = {**os.environ, **names, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(attempts):
            command = [sys.executable, "-c", program]
            done = subprocess.run(
                command, cwd=root, env=environment, capture_output=True, text=True, check=True
            )
            seconds, *modules = done.stdout.split()
            best, loaded = min(best, float(seconds)), set(modules)
    complaints = [f"loads {name}" for name in sorted(loaded & EXTRAS)]
    return complaints + [f"takes {best:.2f} s, limit {limit} s"] * (best >= limit)


def law_same_commands(readme: str, check: str) -> list[str]:
    """The check script installs as the README does, with PyTorch, CuPy and an MPI, runs the same
    tests, and beside them those of an emulated GPU."""
    complaints = []
    check = "\n".join(line for line in check.splitlines() if not line.startswith(EMULATED))
    installs = INSTALL.findall(readme)[:1], INSTALL.findall(check)
    if [
        line.replace("[test]", "[test,parity,emulated,mpi,mpich]") for line in installs[0]
    ] != installs[1]:
        complaints.append(f"install: README says {installs[0]}, the check script {installs[1]}")
    tests = [[found.strip() for found in TEST_COMMAND.findall(text)] for text in (readme, check)]
    if not tests[0] or tests[0][:1] != tests[1]:
        complaints.append(f"tests: README says {tests[0]}, the check script {tests[1]}")
    return complaints


def setup_arguments(source: str) -> dict:
    """The literal arguments of `setup(...)`."""
    calls = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call))
    setup = next(call for call in calls if ast.unparse(call.func) == "setup")
    literal = {}
    for keyword in setup.keywords:
        try:
            literal[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:  # a computed one: find_packages(...), the README
            continue
    return literal


def law_metadata(setup: str, changelog: str, version: str) -> list[str]:
    """Four dependencies, and one version in setup.py, the package and the CHANGELOG."""
    said = setup_arguments(setup)
    needs = {re.split(r"[<>=!~ \[]", line)[0] for line in said["install_requires"]}
    complaints = []
    if needs != REQUIRED:
        complaints.append(f"setup.py requires {sorted(needs)}, not {sorted(REQUIRED)}")
    if said["version"] != version:
        complaints.append(f"setup.py says {said['version']}, the package {version}")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M):
        complaints.append(f"CHANGELOG.md has no dated entry for {version}")
    return complaints


# Each law holds here ...


@pytest.mark.parametrize(
    "law",
    [
        law_imports_go_down,
        law_no_cycles,
        law_rooms_refuse,
        law_extras_wait,
        law_lengths,
        law_prose_heads,
    ],
)
def test_the_package_keeps(law):
    assert law(package_sources()) == []


def test_nothing_else_at_the_top_level():
    assert law_top_level(project_paths()) == []


def test_every_file_belongs_to_everybody():
    assert law_nothing_foreign(read(project_paths())) == []


def test_scripts_and_tests_say_what_they_are():
    others = ("tests/", "examples/", "benchmarks/")
    paths = [p for p in project_paths() if p.startswith(others) and p.endswith(".py")]
    assert law_prose_heads(read(paths)) == []


def test_all_is_what_is_exposed():
    assert law_public_names(importlib.import_module(PACKAGE)) == []


def test_import_is_light():
    assert law_light_import(ROOT) == []


def test_openblas_is_told_before_numpy_loads():
    """Later it has no effect. What the user has set stays."""
    program = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_THREAD_TIMEOUT"))
sys.meta_path.insert(0, Watch())
import tinygrad_lm
"""
    for given, seen in ({}, "4"), ({"OPENBLAS_THREAD_TIMEOUT": "9"}, "9"):
        names = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"}
        names |= {"PYTHONPATH": str(ROOT), **given}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=names, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [seen]


def test_the_readme_is_what_is_checked():
    files = read(["README.md", ".ci/run"])
    assert law_same_commands(files["README.md"], files[".ci/run"]) == []


def test_metadata_agree():
    files = read(["setup.py", "CHANGELOG.md"])
    version = importlib.import_module(PACKAGE).__version__
    assert law_metadata(files["setup.py"], files["CHANGELOG.md"], version) == []


# ... and each can fail: a law, something that breaks it, a part of the complaint.

E, N = "tinygrad_lm/engine/", "tinygrad_lm/nn/"
C = E + "core/"
LONG = "class A:\n def f():\n" + "  1\n" * 59 + "class B:\n def f(): 1"
BROKEN = [
    (law_imports_go_down, {E + "ops/a.py": "import tinygrad_lm.nn"}, "is above"),
    (law_imports_go_down, {E + "ops/a.py": "def f():\n    from ...nn import x"}, "tinygrad_lm.nn"),
    (law_imports_go_down, {E + "ops/a.py": "from ...optim import SGD"}, "tinygrad_lm.optim"),
    (law_imports_go_down, {C + "a.py": "from ..ops import fused"}, "engine.ops"),
    (law_imports_go_down, {E + "arrays/a.py": "from ..core.graph import Node"}, "engine.core"),
    (law_imports_go_down, {E + "kernels/a.py": "from ..pytorch import x"}, "engine.pytorch"),
    (
        law_imports_go_down,
        {C + "op.py": "if TYPE_CHECKING:\n    from ..pytorch.methods import Methods"},
        "engine.pytorch",
    ),
    (law_imports_go_down, {C + "tensor.py": "from ..pytorch.methods import M"}, "engine.pytorch"),
    (law_imports_go_down, {N + "a.py": "import tinygrad_lm"}, "is above"),
    (law_imports_go_down, {"tinygrad_lm/misc.py": ""}, "no row"),
    (law_no_cycles, {E + "a.py": "from . import b", E + "b.py": "from .a import x"}, "a -> "),
    (
        law_no_cycles,
        {E + "a.py": "from . import b", E + "b.py": "if TYPE_CHECKING:\n    from .a import x"},
        "a -> ",
    ),
    (law_rooms_refuse, {C + "a.py": "import numpy"}, "imports numpy"),
    (law_rooms_refuse, {C + "a.py": "def f():\n    from ..kernels.c import fast"}, "the core"),
    (law_rooms_refuse, {C + "a.py": "from ..pytorch.names import x"}, "the core"),
    (law_rooms_refuse, {E + "ops/a.py": "import numpy as np"}, "imports numpy"),
    (law_rooms_refuse, {E + "ops/a.py": "def f():\n    from ..kernels import cpu"}, "kernels"),
    (law_rooms_refuse, {E + "kernels/numpy/a.py": "from ...core.tensor import Tensor"}, "Tensor"),
    (law_rooms_refuse, {E + "kernels/numpy/a.py": "from tinygrad_lm import nn"}, "nn"),
    (law_rooms_refuse, {E + "inplace.py": "from .kernels.c.recorder import recorder"}, "its door"),
    (law_rooms_refuse, {E + "inplace.py": "load('_recorder')"}, "its door"),
    (law_extras_wait, {E + "a.py": "try:\n    import cupy\nexcept: pass"}, "cupy at its top"),
    (law_lengths, {C + "a.py": "\n" * 300, C + "b.py": "\n" * 221}, "core has 521"),
    (law_lengths, {C + "a.py": "def f():\n" + "  1\n" * 30}, "f has 31"),
    (law_lengths, {E + "ops/fused.py": "\n" * (AFTERNOON_LINES + 1)}, "an afternoon"),
    (law_lengths, {E + "capture/tape.py": "\n" * 401}, "recording a step has 401"),
    (law_lengths, {E + "a.py": "\n" * 401}, "at most 400"),
    (law_lengths, {E + "a.py": LONG}, "f has 60"),
    (law_prose_heads, {E + "a.py": "x = 1"}, "in a sentence"),
    (law_prose_heads, {E + "a.py": '"""The tensors"""'}, "in a sentence"),
    (law_top_level, ["setup.py", "notes.txt"], "notes.txt"),
    (law_nothing_foreign, {"a.py": "open('/" + "home/me/x')"}, "names"),
    (law_nothing_foreign, {"a.md": "https://" + "pypi." + "org/simple"}, "names"),
]


@pytest.mark.parametrize("law, broken, complaint", BROKEN)
def test_a_law_can_fail(law, broken, complaint):
    assert complaint in "\n".join(law(broken))


def test_what_is_allowed_is_not_complained_about():
    sources = {
        E + "__init__.py": '"""One."""\nfrom . import ops\nfrom .kernels.c import recorder',
        E + "arrays/__init__.py": '"""One."""\nfrom .libraries import library',
        E + "arrays/libraries.py": '"""One."""\nimport numpy\ndef f():\n    import cupy',
        C + "tensor.py": '"""One."""\nfrom ..arrays import x\n'
        "if TYPE_CHECKING:\n    from ..pytorch.methods import Methods",
        E + "pytorch/methods.py": '"""One."""\nfrom ..core.tensor import Tensor',
        E + "kernels/c/recorder.py": '"""One."""\nfrom ...core.tensor import Tensor\n"_recorder"',
        N + "__init__.py": '"""One."""\nfrom ..engine.arrays import f\nfrom . import functional',
        N + "functional.py": '"""One."""\nfrom tinygrad_lm.engine.core import tensor',
        "tinygrad_lm/__init__.py": '"""One."""\nfrom . import engine, nn',
    }
    laws = [law_imports_go_down, law_no_cycles, law_rooms_refuse, law_extras_wait, law_prose_heads]
    assert [law(sources) for law in laws] == [[]] * 5


def test_an_exception_has_to_be_needed(monkeypatch):
    monkeypatch.setattr(f"{__name__}.LONGER", {"engine/a.py": (500, "for a reason")})
    assert law_lengths({E + "a.py": "\n" * 450}) == []
    assert "no exception" in law_lengths({E + "a.py": "\n" * 300})[0]
    assert "gone" in law_lengths({E + "b.py": ""})[0]


def test_public_names_can_fail():
    module = ModuleType("m")
    module.__all__ = ["gone", "_hidden", "here", "here"]
    module._hidden, module.here, module.stray = 1, 2, 3
    assert len(law_public_names(module)) == 4


def test_light_import_can_fail(tmp_path):
    (tmp_path / PACKAGE).mkdir()
    slow = "import sys\nsys.modules['torch'] = sys\nsum(range(10**7))\n"
    (tmp_path / PACKAGE / "__init__.py").write_text(slow)
    complaints = law_light_import(tmp_path, attempts=1, limit=0.05)
    assert complaints[0] == "loads torch" and "limit 0.05 s" in complaints[1]


def test_commands_and_metadata_can_fail():
    readme = (
        'pip install ".[test]" && .venv/bin/python -m pytest -n auto\n`python -m pytest tests/a.py`'
    )
    check = 'pip install ".[test,parity,emulated,mpi,mpich]"\nstep python -m pytest -n auto\n'
    assert law_same_commands(readme, check) == []
    assert law_same_commands(readme, check + EMULATED + 'python -m pytest "$@"; }\n') == []
    assert "tests:" in law_same_commands(readme, check + "step python -m pytest -m cuda\n")[0]
    assert "install:" in law_same_commands(readme, check.replace(",emulated", ""))[0]
    assert "tests:" in law_same_commands(readme, check.replace("-n auto", "-x"))[0]
    assert "install:" in law_same_commands(readme, check.replace(".[", "-e .["))[0]
    assert len(law_same_commands("", check)) == 2
    setup = "setup(version='0.2.0', install_requires=['numpy>=2', 'scipy'])"
    assert len(law_metadata(setup, "## [0.2.0] - soon", "0.1.0")) == 3


PARITY_FILES = {
    "test_parity_whole_file.py": "import pytest\npytest.importorskip('no_such_module')",
    "test_parity_one_by_one.py": """
import pytest
@pytest.fixture
def absent():
    pytest.skip("fixture")
def test_call():
    pytest.skip("call")
def test_fixture(absent):
    pass
@pytest.mark.skip
def test_mark():
    pass
@pytest.mark.xfail
def test_known():
    assert False
@pytest.mark.cuda
def test_gpu():
    pytest.skip("no GPU")
@pytest.mark.mpi
def test_ranks():
    pytest.skip("no mpiexec")
""",
    "test_other.py": "import pytest\ndef test_plain():\n    pytest.skip('plain')",
}


@pytest.mark.parametrize(
    "promises, outcome",
    [
        ("PARITY", {"errors": 3, "failed": 1, "skipped": 3, "xfailed": 1}),
        ("CUPY", {"failed": 1, "skipped": 6, "xfailed": 1}),
        ("MPI", {"failed": 1, "skipped": 6, "xfailed": 1}),
        ("", {"skipped": 7, "xfailed": 1}),
    ],
)
def test_a_skipped_test_fails_where_what_it_needs_is_promised(tmp_path, promises, outcome):
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    for name, text in PARITY_FILES.items():
        (tmp_path / name).write_text(text)
    options = ["--continue-on-collection-errors", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", *options, tmp_path],
        cwd=tmp_path,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("TINYGRAD_LM_")},
            **({f"TINYGRAD_LM_REQUIRE_{promises}": "1"} if promises else {}),
        },
        capture_output=True,
        text=True,
    )
    closing = done.stdout.splitlines()[-1]
    counts = {
        word: int(number)
        for number, word in re.findall(r"(\d+) ([a-z]+)", closing.split(" in ")[0])
    }
    assert counts == outcome
    assert done.returncode == (1 if promises else 0)
