"""Settings of NVIDIA's layers, under PyTorch's names. They are kept and can be read back, and have
nothing to act on: this project's layers are its own, and deterministic."""

allow_tf32 = True
benchmark = False
deterministic = False
enabled = True
