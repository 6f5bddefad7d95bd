"""The sampler for several processes, under PyTorch's path. It is defined in
`tinygrad_lm.data.samplers`."""

from ....data.samplers import DistributedSampler

__all__ = ["DistributedSampler"]
