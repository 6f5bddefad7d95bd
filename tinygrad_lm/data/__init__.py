"""Where text and tokens come from: named corpora, any text file, memory-mapped token files.

Knows files and arrays; knows neither Tensor nor model.
"""

from .corpora import load_text
from .token_files import open_tokens, write_tokens

__all__ = ["load_text", "open_tokens", "write_tokens"]
