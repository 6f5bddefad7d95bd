"""Apple's GPUs, under PyTorch's name. They are not supported; this is where a script learns it."""


def is_available() -> bool:
    return False


def is_built() -> bool:
    return False
