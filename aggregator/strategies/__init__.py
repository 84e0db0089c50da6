"""How a new model is made from the cohorts' mean changes; names as in Flower."""
