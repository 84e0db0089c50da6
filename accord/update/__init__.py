"""A model change and the small integers that stand for it on the way."""
