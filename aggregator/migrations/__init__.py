"""The steps from each revision of the store's schema to the next, run by `aggregator.store` at start."""
