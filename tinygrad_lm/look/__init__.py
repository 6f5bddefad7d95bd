"""Looking at what a network does: `study.py` measures activations and gradients,
`viz.py` draws them. Neither changes a model."""
