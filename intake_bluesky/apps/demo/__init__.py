"""The demonstration: simulated experiments, recorded by this package and opened again.

`run_demo` is what ``intake-bluesky demo`` calls. Needs the extra ``[demo]``.
"""

from __future__ import annotations

from intake_bluesky.apps.demo.tour import Demonstration, run_demo

__all__ = ["Demonstration", "run_demo"]
