"""Faster ways to the fused ops, one folder per kind of device. Kernels know raw arrays only,
neither Tensor nor layers; no op asks for them, they register themselves."""
