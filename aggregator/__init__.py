"""The coordinator: rounds, cohorts, strategies, and what is kept of them."""
