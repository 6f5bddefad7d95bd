"""From text to ids and back: tokenizers, and text continued by a model."""
