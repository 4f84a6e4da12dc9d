"""Measured runs and the simulations of them: links between both, and comparisons."""
