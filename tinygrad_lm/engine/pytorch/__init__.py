"""PyTorch's spelling of the ops: `dim` for axis, shapes as arguments, named results, its errors.
The mathematics is in `ops/`; `methods.py` binds what stands here to Tensor."""
