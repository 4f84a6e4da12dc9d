"""Turn pytest-benchmark's JSON into the table of docs/reference/benchmarks.md.

Usage: ``python tests/benchmarks/table.py results.json docs/reference/benchmarks.md`` (``make bench`` does both steps).
A group of benchmarks is one section; the test whose name contains ``floor`` is what the others are compared with.
"""

from __future__ import annotations

import json
import platform
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

HEADING = """# Benchmarks

Medians of several rounds; the last column compares with the group's floor: the least work that could give the same
answer, done by hand in the same process. Machines are noisy: trust the ratios before the seconds.

`make bench` measures all of it and rewrites this page.
"""


def main(results: Path, page: Path) -> None:
    """Write the page."""
    found = json.loads(results.read_text())
    ordered = sorted(found["benchmarks"], key=lambda b: (b["group"] or "", b["name"]))
    parts = [HEADING, f"Python {platform.python_version()}, {found['machine_info']['cpu']['count']} cores.\n"]
    for group, members in groupby(ordered, key=lambda b: b["group"] or "others"):
        parts.append(section(group, list(members)))
    page.write_text("\n".join(parts))


def section(group: str, members: list[dict[str, Any]]) -> str:
    """One group as a Markdown table."""
    floor = next((m["stats"]["median"] for m in members if "floor" in m["name"]), None)
    lines = [f"## {group}\n", "| what | median | rounds | to the floor |", "|---|---|---|---|"]
    for member in sorted(members, key=lambda m: "floor" not in m["name"]):
        median = member["stats"]["median"]
        ratio = f"{median / floor:.2f}" if floor else ""
        notes = ", ".join(f"{k}: {v}" for k, v in member["extra_info"].items())
        what = member["name"].removeprefix("test_").replace("_", " ") + (f" ({notes})" if notes else "")
        lines.append(f"| {what} | {duration(median)} | {member['stats']['rounds']} | {ratio} |")
    return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    """Three significant digits with a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
