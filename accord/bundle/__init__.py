"""A training bundle: the one file that `quantize` makes and a device opens. Runs no model."""
