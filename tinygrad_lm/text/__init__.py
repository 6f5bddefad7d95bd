"""Text and a model's ids: `tokenizers.py` turns one into the other, `generation.py` continues a
text; `terminal.py` shows one that may hold anything."""
