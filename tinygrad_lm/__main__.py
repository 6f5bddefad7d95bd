"""`python -m tinygrad_lm` is the command line. What it does is in `cli.py`, and nothing here."""

import sys

from .cli import main

sys.exit(main())
