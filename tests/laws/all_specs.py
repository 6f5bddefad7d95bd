"""Loads the records of every `op_specs_*.py` here, which add themselves to the table."""

import importlib
from pathlib import Path

for path in sorted(Path(__file__).parent.glob("op_specs_*.py")):
    importlib.import_module(path.stem)
