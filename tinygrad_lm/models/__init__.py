"""Language models, from layers of `nn`; each file is one model. Nothing is imported here, so that
using one model costs nothing for the others."""
