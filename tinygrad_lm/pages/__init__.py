"""PyTorch's other pages (`torch.amp`, `torch.cuda`, `torch.utils.data`, ...): what scripts ask of
them, by their names. Much of it only says that here there is nothing to do."""
