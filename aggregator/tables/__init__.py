"""Typed functions over a connection, one module per table: what is written and read, in plain values."""
