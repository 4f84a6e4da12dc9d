"""``intake-bluesky unpack``: a pack into a folder or a catalog, or compared with its checksums."""

from __future__ import annotations

import argparse
import os

from intake_bluesky.apps.cli.commands import FINE, FOUND
from intake_bluesky.apps.cli.copy import root_map_yaml
from intake_bluesky.apps.cli.open_catalog import SQLITE, find_target
from intake_bluesky.apps.cli.pack import tell
from intake_bluesky.apps.terminal.page import counted, write_json
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.yaml_files.named_entry import YAML_ENTRY
from intake_bluesky.errors import UnsupportedOperation, printable
from intake_bluesky.transfer import ingest

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Unpack, or compare with the checksums."""
    if arguments.check:
        if arguments.target is not None:
            raise UnsupportedOperation("--check writes nothing: name the pack alone")
        return _check(arguments.pack, as_json=arguments.json)
    if arguments.target is None:
        raise UnsupportedOperation("name a folder or a catalog to unpack into, or --check")
    into = _target(arguments.target)
    report = ingest.unpack(arguments.pack, into, assets_into=arguments.assets_into)
    code = tell(report, as_json=arguments.json)
    if report.root_map and isinstance(into, BlueskyCatalog) and not arguments.json:
        print("\nThe files are found with this argument of the catalog:\n")
        print(root_map_yaml(report.root_map), end="")
    return code


def _target(text: str) -> str | BlueskyCatalog:
    """A catalog where the text is that of a YAML file, a database or an installed catalog; else a folder."""
    is_catalog = YAML_ENTRY.fullmatch(text) or "://" in text or text.endswith(SQLITE)
    return find_target(text) if is_catalog and not os.path.isdir(text) else text


def _check(pack: str, *, as_json: bool) -> int:
    problems = ingest.check_pack(pack)
    if as_json:
        write_json({"pack": pack, "problems": [{"path": path, "problem": why} for path, why in problems.items()]})
    else:
        for path, why in problems.items():
            print(printable(f"{path}: {why}"))
        print(counted(len(problems), "problem"))
    return FOUND if problems else FINE
