"""Compiles the emulated GPU and the kernels that run on it, and keeps what was compiled on disk.
Several processes may do this at once: what is half done has another name."""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
CUPY = "14.2"  # the version whose private layout this tool knows
COMPILE = "g++ -std=c++17 -fPIC -shared -w".split()
# A kernel takes a sixth of a second. Without -O1 g++ writes code for each function of the headers,
# called or not, which takes three times as long.
KERNEL_FLAGS = "-std=c++17 -O1 -g0 -fPIC -w -fpermissive -D__CUDACC_VER_MAJOR__=13".split()


class CannotEmulate(RuntimeError):
    """What this machine lacks, in one sentence."""


def _complain(sentence: str) -> CannotEmulate:
    return CannotEmulate(f"[cupy_on_cpu] {sentence}")


@functools.cache
def site() -> Path:
    """The folder in which CuPy is installed."""
    try:
        version = importlib.metadata.version("cupy-cuda13x")
    except importlib.metadata.PackageNotFoundError:
        raise _complain("needs CuPy; try: pip install '.[cuda13]'") from None
    if not version.startswith(CUPY + "."):
        raise _complain(f"replaces private parts of CuPy {CUPY}, found {version}")
    found = importlib.util.find_spec("cupy")
    assert found is not None and found.origin is not None
    return Path(found.origin).parents[1]


@functools.cache
def cuda_headers() -> tuple[Path, ...]:
    """A folder with CUDA's headers: `nvidia-cuda-runtime` and `nvidia-cuda-crt`, or a toolkit."""
    places = [os.environ.get("CUPY_ON_CPU_HEADERS"), site() / "nvidia/cu13/include"]
    places += sorted(Path("/usr/local").glob("cuda*/include"))
    for place in map(Path, filter(None, places)):
        if (place / "crt/host_defines.h").exists() and (place / "cuda_bf16.h").exists():
            return (place,)
    raise _complain(
        "needs CUDA's headers; try: pip install 'nvidia-cuda-runtime==13.0.*' "
        "'nvidia-cuda-crt==13.0.*'"
    )


def include_options() -> list[str]:
    bundled = site() / "cupy/_core/include"
    parts = [f"cupy/_cccl/{name}" for name in ("thrust", "cub", "libcudacxx")]
    folders = [folder(), HERE, *(bundled / part for part in parts), bundled, *cuda_headers()]
    return [f"-I{place}" for place in folders]


def kept(*depends_on: object) -> Path:
    """A folder for what is compiled: one for each state of this tool, of CuPy and of CUDA's
    headers, and of what else it depends on."""
    sources = sorted(p for p in HERE.iterdir() if p.suffix in (".h", ".cpp", ".py"))
    text = b"".join(path.read_bytes() for path in sources)
    text += (cuda_headers()[0] / "cuda_fp16.hpp").read_bytes()
    version = importlib.metadata.version("cupy-cuda13x")
    text += repr((version, sys.version, *depends_on)).encode()
    cache = os.environ.get("CUPY_ON_CPU_CACHE") or Path.home() / ".cache/cupy_on_cpu"
    found = Path(cache) / hashlib.sha1(text).hexdigest()[:16]
    found.mkdir(parents=True, exist_ok=True)
    return found


@functools.cache
def folder() -> Path:
    """Of the tool itself, which knows where CuPy lies."""
    return kept(site())


@functools.cache
def kernels() -> Path:
    """Of kernels, which are the same wherever that is: a new environment finds them made."""
    return kept("kernels")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time for this file; the others find it made when their turn comes."""
    import fcntl

    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd)
    except FileNotFoundError:
        raise _complain(f"needs {command[0]}, which is not installed") from None
    if done.returncode:
        raise _complain(f"{' '.join(map(str, command))}\n{done.stderr[:4000]}")


def _make(target: Path, command: list) -> None:
    unfinished = target.with_name(f"{os.getpid()}-{target.name}")
    _run([*command, "-o", unfinished])
    unfinished.rename(target)


def _missing_functions() -> str:
    """C of the cuBLAS functions that CuPy's module links to and cublas.cpp has not."""
    module = next((site() / "cupy_backends/cuda/libs").glob("cublas.*.so"))
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", module], capture_output=True, text=True, check=True
    )
    wanted = set(re.findall(r"\bcublas\w+", listed.stdout))
    text = (HERE / "cublas.cpp").read_text()
    made = set(re.findall(r"\bcublas\w+(?=\()", text))
    for name in re.findall(r"cublas##S##(\w+)\(", text):
        made |= {f"cublasS{name}", f"cublasD{name}"}
    head = '#include <cstdio>\nextern "C" {\n'
    body = 'int {0}() {{ return fprintf(stderr, "[cupy_on_cpu] no {0}\\n"), 15; }}\n'
    return head + "".join(body.format(name) for name in sorted(wanted - made)) + "}\n"


def prepare() -> Path:
    """The folder with everything that is compiled once: the device, the two libraries of products,
    and the header that precedes every kernel."""
    made = folder()
    with _alone(made / "everything"):
        if (made / "ready").exists():
            return made
        optimised = [*COMPILE, "-O2"]
        python = [f"-I{sysconfig.get_paths()['include']}", *(f"-I{p}" for p in cuda_headers())]
        device = [HERE / "runtime.cpp", HERE / "threads.cpp", "-ldl"]
        _make(made / "libdevice.so", [*optimised, *python, *device, "-Wl,-soname,libdevice.so"])
        (made / "missing.cpp").write_text(_missing_functions())
        for name, sources in (
            ("cublas", [HERE / "cublas.cpp", made / "missing.cpp"]),
            ("cublasLt", [HERE / "cublaslt.cpp"]),
        ):
            library = f"lib{name}.so.13"
            (made / "versions.map").write_text(f"{library} {{ global: *; }};")
            link = [f"-Wl,-soname,{library}", f"-Wl,--version-script={made}/versions.map"]
            _make(made / library, [*optimised, "-O3", *sources, *link])
        (made / "prefix.h").write_text('#include "kernel.h"\n')
        command = ["g++", *KERNEL_FLAGS, "-x", "c++-header", *include_options(), made / "prefix.h"]
        _make(made / "prefix.h.gch", command)
        (made / "ready").touch()
    return made


KERNEL = re.compile(
    r"""__global__\s+ (?:__launch_bounds__\([^)]*\)\s*)?
    void\s+ (?:__launch_bounds__\([^)]*\)\s*)? (\w+)\s*\(""",
    re.X,
)
DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
TOGETHER = re.compile(r"__sync|__shfl|__ballot|__any_sync|__all_sync|__reduce_")


def kernel_names(text: str) -> list[str]:
    """The kernels of a program that have C names: `extern "C"` before each, or a block of it."""
    if re.search(r'extern\s+"C"\s*\{', text):
        return list(dict.fromkeys(KERNEL.findall(text)))
    return list(dict.fromkeys(re.findall(r'extern\s+"C"\s+' + KERNEL.pattern, text, re.X)))


def compile_program(text: str, expressions: tuple[str, ...]) -> tuple[bytes, dict | None]:
    """What takes the place of NVRTC's compilation: (the path of a shared library, as bytes; the
    name in it of each C++ expression, such as `kernel<float>`)."""
    if not text.strip():
        return b"empty", None
    name = hashlib.sha1((text + repr(expressions)).encode()).hexdigest()
    library = kernels() / f"{name}.so"
    mapping = {e: e if e.isidentifier() else f"expression_{i}" for i, e in enumerate(expressions)}
    with _alone(library):
        if not library.exists():
            source = library.with_suffix(".cpp")
            functions = {name: name for name in kernel_names(text)} | mapping
            source.write_text(_program(text, functions))
            # What a kernel calls of C's libraries is there: the device was linked to them.
            link = ["-shared", "-nodefaultlibs"]
            _make(library, ["g++", *KERNEL_FLAGS, *include_options(), *link, source])
    return str(library).encode(), mapping or None


def _program(text: str, functions: dict[str, str]) -> str:
    together = "true" if TOGETHER.search(text) else "false"
    body = DYNAMIC_SHARED.sub(r"\1* \2 = reinterpret_cast<\1*>(device_shared);", text)
    tail = "".join(
        f'extern "C" void launch_{name}(void** arguments, const unsigned* launch) '
        f"{{ device_launch({what}, arguments, launch, {together}); }}\n"
        f'extern "C" void copy_{name}(void** from, void** to) '
        f"{{ device_copy({what}, from, to); }}\n"
        for what, name in functions.items()
    )
    return f'#include "prefix.h"\n{body}\n{tail}'
