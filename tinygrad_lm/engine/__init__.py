"""The engine: arrays in, gradients out. It knows no layer, no model and nothing outside this
folder; read `backend`, `autograd`, `registry`, `tensor` and then the ops."""
