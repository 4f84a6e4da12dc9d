"""What tests of readers do: write runs, and read them in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from intake_bluesky.testing.examples import Run

__all__ = ["in_another_process", "write"]

READ_ELSEWHERE = """
import json, sys
import intake
cat = intake.open_catalog(sys.argv[1])
named = {name: cat[name] for name in sys.argv[2:]}
print(json.dumps({name: [reader.token, reader.read().to_dict()] for name, reader in named.items()}))
"""


def write(catalog: Any, *runs: Run) -> Any:
    with catalog.writer() as writer:
        for run in runs:
            for pair in run:
                writer(*pair)
    return catalog


def in_another_process(path: Path, *names: str) -> dict[str, Any]:
    """Tokens and Datasets as a process in another folder has them."""
    (path.parent / "elsewhere").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", READ_ELSEWHERE, str(path), *names],
        cwd=path.parent / "elsewhere", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]
