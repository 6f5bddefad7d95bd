"""The metadata of the package and the one list of what it needs.

The build system and the settings of the tools are in pyproject.toml.
"""

import copy
import platform
import sys
import sysconfig
import zlib
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

# The engine's kernels and its hot path. Both are made of what is in one folder, and carry a name
# for it: `kernels/c/__init__.py` makes the same of the sources it finds, and leaves an old build
# alone.
folder = Path("tinygrad_lm/engine/kernels/c")
sources = sorted(folder.glob("*.[ch]"))
version = f"{zlib.crc32(b''.join(path.read_bytes() for path in sources)):08x}"


def module(name: str, source: str, **options: Any) -> Extension:
    return Extension(
        f"tinygrad_lm.engine.kernels.c.{name}",
        [str(folder / source)],
        depends=["setup.py", *map(str, sources)],
        define_macros=[("VERSION", f'"{version}"')],
        optional=True,  # without a C compiler NumPy kernels and plain Python do the same work
        **options,
    )


# The kernels, once for each set of instructions, so that a build runs anywhere: `isa.c` asks the
# processor for what is listed here, and the best form that it runs is loaded. These are the parts
# of x86-64-v2, -v3 and -v4 that the loops can use; elsewhere there is what every processor has.
FORMS = {"base": ""}
if platform.machine() in ("x86_64", "AMD64"):
    FORMS = {"v2": "-msse4.2", "v3": "-mavx2 -mfma -mbmi2"}
    FORMS["v4"] = FORMS["v3"] + " -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl"
# No -ffast-math: NaN and infinity keep their meaning. No -g: it takes a third of the time. Vectors
# stay inside of a form, so nobody depends on how one is passed.
OPTIONS = "-O3 -g0 -mtune=generic -fno-math-errno -fno-trapping-math -Wno-psabi".split()
kernels = [
    module(
        f"_fast_{form}",
        "_fast.c",
        extra_compile_args=[f"-DFORM={form}", *OPTIONS, *instructions.split()],
        libraries=[] if sys.platform == "win32" else ["m"],
    )
    for form, instructions in FORMS.items()
]
recorder = module("_recorder", "recorder.c")
# It builds on CPython's lock and reference counts.
locked = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildForms(build_ext):
    """The forms side by side: they have one source, so each keeps its object in its own folder."""

    def build_extension(self, ext: Any) -> None:
        mine = copy.copy(self)
        mine.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(mine, ext)


readme = Path(__file__).with_name("README.md")

setup(
    name="tinygrad_lm",
    version="0.1.0",
    description="An autograd engine on plain arrays, and a GPT that uses nothing but that engine",
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["tinygrad_lm", "tinygrad_lm.*"]),
    package_data={
        "tinygrad_lm": ["py.typed"],
        "tinygrad_lm.as_torch": ["names.txt"],
        "tinygrad_lm.engine.kernels.c": ["*.c", "*.h"],
        "tinygrad_lm.engine.kernels.cuda": ["*.cu", "*.cuh"],
        "tinygrad_lm.serving": ["*.html", "*.css", "*.js"],
    },
    ext_modules=[module("_isa", "isa.c"), *kernels, *([recorder] if locked else [])],
    cmdclass={"build_ext": BuildForms},
    options={"build_ext": {"parallel": True}},
    zip_safe=False,
    install_requires=["numpy>=2.1", "ml_dtypes", "safetensors", "tqdm", "threadpoolctl"],
    extras_require={
        "cuda12": ["cupy-cuda12x>=14"],
        "cuda13": ["cupy-cuda13x>=14"],
        "cudnn": ["nvidia-cudnn-frontend==1.23.0"],
        "plot": ["matplotlib"],
        "bpe": ["tokenizers"],
        "sentencepiece": ["sentencepiece"],
        "tiktoken": ["tiktoken"],
        "serve": ["flask"],
        "mpi": ["mpi4py>=4"],
        "mpich": ["mpich"],  # an MPI, where the system has none
        "test": [
            "pytest>=8",
            "pytest-xdist",
            "hypothesis",
            "matplotlib",
            "tokenizers",
            "flask",
            "ruff",
            "mypy",
        ],
        "parity": ["torch==2.13.0", "transformers", "tiktoken", "sentencepiece"],
        # For the GPU of tests/cupy_on_cpu: the CuPy it knows, and CUDA's headers.
        "emulated": [
            "cupy-cuda13x==14.2.*",
            "nvidia-cuda-runtime==13.0.*",
            "nvidia-cuda-crt==13.0.*",
        ],
    },
    entry_points={"console_scripts": ["tinygrad-lm = tinygrad_lm.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Programming Language :: Python :: Free Threading :: 1 - Unstable",
        "Operating System :: OS Independent",
        "Typing :: Typed",
        "Intended Audience :: Education",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
