"""Pages below `torch.autograd`, loaded on first use. The page itself is `tinygrad_lm.autograd`."""
