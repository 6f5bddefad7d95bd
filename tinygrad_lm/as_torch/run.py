"""Runs a script as Python would, or a notebook's code, with the alias installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from . import install, notebook


def run(path: str, arguments: list[str]) -> None:
    """Run a Python file as `python PATH ARGUMENTS` would, or the code cells of a notebook. What it
    raises is shown without the frames of this package above the file's, and ends the process as
    Python does."""
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__)
    is_notebook = path.endswith(".ipynb")
    if not is_notebook:
        main.__dict__.update(__file__=path)
    sys.modules["__main__"] = main
    install()
    sys.argv[:] = [path, *arguments]
    sys.path[0] = str(Path(path).resolve().parent)
    try:
        if is_notebook:
            notebook.execute(path, vars(main))
        else:
            code = compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
            exec(code, main.__dict__)
    except (Exception, KeyboardInterrupt) as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_globals.get("__package__") == __package__:
            trace = trace.tb_next
        hook = notebook.show_error if is_notebook else sys.excepthook
        hook(type(error), error.with_traceback(trace), trace)
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from None
