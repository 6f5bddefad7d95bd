"""Looking at what a network does: studies of activations and gradients, and pictures of them."""
