"""The GPT (`gpt.py`, and `cache.py`, what it remembers while it writes) and how it is kept: runs in
`checkpoints.py`, GPT-2's files in `pretrained.py`, where they come from in `hub.py`, low-rank
additions in `lora.py`. Nothing is imported here."""
