"""Plots of streams: what is drawn, as the documents hint, and how matplotlib draws it."""
