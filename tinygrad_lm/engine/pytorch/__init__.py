"""PyTorch's spelling of the ops: `dim` for axis, shapes as arguments, named results, its errors.
The mathematics is in `ops/`; `methods.py` lists what of this is a method of Tensor."""
