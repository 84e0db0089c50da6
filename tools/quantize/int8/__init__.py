"""A float network made int8: which tensors are rounded, on which grids, and where a model is cut. Trains nothing."""
