"""PyTorch's other pages (`torch.amp`, `torch.cuda`, `torch.utils.data`, ...): what scripts
ask of them. Much of it only says that there is nothing to do here."""
