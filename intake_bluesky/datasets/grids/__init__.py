"""Gridded scans: the events of a stream, stored one after the other, in the shape of the grid they were taken on.

`scanned` finds the `Grid` in a run's start document, or takes it from its arguments; `gridded` folds a stream's lazy
Dataset into that shape.
"""
