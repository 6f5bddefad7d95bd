"""The tables of the functions that take `out=` and `pin_memory=` hold all that PyTorch gives
them, so that the table of names need not compare these words."""

import tinygrad_lm as tl
from tinygrad_lm.as_torch.names import sections
from tinygrad_lm.engine.pytorch.out import TAKES_OUT, TAKES_PIN_MEMORY


def here(keyword):
    """The functions of `torch` with the keyword that are here."""
    names = sections()["torch"]
    return {name for name in names if keyword in names[name] and hasattr(tl, name)}


def test_every_function_with_out_takes_it():
    # lu is refused, and of a real number there is nothing to compute
    assert here("out") - {"lu", "conj_physical"} <= set(TAKES_OUT.split())


def test_every_function_with_pin_memory_takes_it():
    assert here("pin_memory") <= TAKES_PIN_MEMORY
    assert tl.tensor([1.0], pin_memory=True).tolist() == tl.ones(1, pin_memory=True).tolist()
