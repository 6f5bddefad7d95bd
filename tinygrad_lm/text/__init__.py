"""Text and a model's ids: `tokenizers.py` turns one into the other (its kinds are in `tokens.py`
and `libraries.py`), `generation.py` continues a text (`sampling.py` chooses a token, `streaming.py`
says what is certain), `chat.py` a dialogue; `terminal.py` shows a text that may hold anything."""
