"""What is in a pack: its files with checksums, its runs with digests; read as data from elsewhere, and written.

The text of ``catalog.yml`` and ``SHA256SUMS`` follows from it, so that neither is ever read to learn something.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PureWindowsPath
from typing import Any, Final

import orjson

from intake_bluesky._version import __version__
from intake_bluesky.documents.exact_json import LARGE
from intake_bluesky.errors import DamagedPack, UntrustedName
from intake_bluesky.transfer.asset_names import ASSETS, TEMPLATE

__all__ = [
    "CATALOG", "DOCUMENTS", "MANIFEST", "SUMS", "Manifest", "NamedFile", "PackedFile", "PackedRun", "check_path",
]  # fmt: skip

CATALOG: Final = "catalog.yml"
DOCUMENTS: Final = "documents"
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
FORMAT: Final = "intake-bluesky pack"
VERSION: Final = 1
DRIVERS: Final = {"jsonl": "bluesky-jsonl-catalog", "msgpack": "bluesky-msgpack-catalog"}
HEX: Final = re.compile("[0-9a-f]{64}")
LARGEST: Final = 1 << 60  # bytes of a file: past that no disk is


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file in a pack, and what it was copied from.

    Attributes
    ----------
    path : str
        In the pack, with slashes.
    size : int
        In bytes.
    sha256 : str
    source : str
        Where it was, and empty for files that were made for the pack.
    stamp : str
        What changes when the file that it was copied from does.
    """

    path: str
    size: int
    sha256: str
    source: str = ""
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a run names: where it was, its place in the pack, or why it has none."""

    source: str
    path: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PackedRun:
    """A run in a pack.

    Attributes
    ----------
    uid : str
    path : str
        Of its documents, in the pack.
    documents : int
        How many.
    digest : str
        SHA-256 of its documents as JSON, each ``["name", {...}]`` and a line end.
    finished : bool
        Whether it has a stop document.
    files : tuple of NamedFile
    """

    uid: str
    path: str
    documents: int
    digest: str
    finished: bool
    files: tuple[NamedFile, ...] = ()


@dataclass(slots=True)
class Manifest:
    """What is in a pack."""

    form: str
    runs: dict[str, PackedRun] = field(default_factory=dict)
    files: dict[str, PackedFile] = field(default_factory=dict)
    root_map: dict[str, str] = field(default_factory=dict)
    time: str = ""
    software: str = f"intake-bluesky {__version__}"

    def catalog(self) -> bytes:
        """The YAML file by which Intake opens the pack: it follows from the manifest alone."""
        import yaml

        arguments: dict[str, Any] = {"paths": f"{{{{ CATALOG_DIR }}}}/{DOCUMENTS}"}
        if self.root_map:
            arguments["root_map"] = dict(sorted(self.root_map.items()))
        runs = {"driver": DRIVERS[self.form], "args": arguments}
        return yaml.safe_dump({"sources": {"runs": runs}}, sort_keys=False, allow_unicode=True).encode()

    def encoded(self) -> bytes:
        """The text of ``manifest.json``."""
        whole = {
            "format": FORMAT,
            "version": VERSION,
            "software": self.software,
            "time": self.time,
            "documents": self.form,
            "root_map": self.root_map,
            "runs": [asdict(run) for run in self.runs.values()],
            "files": [asdict(self.files[path]) for path in sorted(self.files)],
        }
        return json.dumps(whole, indent=1).encode() + b"\n"

    def sums(self, own: PackedFile) -> bytes:
        """The text of ``SHA256SUMS``, the manifest itself included."""
        return b"".join(_line(self.files[path]) for path in sorted(self.files)) + _line(own)

    @classmethod
    def decoded(cls, data: bytes) -> Manifest:
        """Read a manifest from elsewhere.

        Raises
        ------
        DamagedPack
            When it is none, or of a version that this release does not know.
        UntrustedName
            When it names a path that leads out of the pack.
        """
        try:
            # orjson's depth has a limit, and its errors hold much of what they are about.
            whole = orjson.loads(data) if len(data) < LARGE else json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DamagedPack(f"{MANIFEST} is no JSON: {error}") from error
        if not isinstance(whole, dict) or whole.get("format") != FORMAT:
            raise DamagedPack(f"{MANIFEST} is none of intake-bluesky: it says nothing of {FORMAT!r}")
        if whole.get("version") != VERSION:
            raise DamagedPack(
                f"the pack is of version {whole.get('version')!r}, this release knows {VERSION}: install a newer one"
            )
        try:
            return cls._checked(whole)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, DamagedPack):
                raise
            raise DamagedPack(f"{MANIFEST} is not as it should be: {type(error).__name__}: {error}") from error

    @classmethod
    def _checked(cls, whole: Mapping[str, Any]) -> Manifest:
        files = [PackedFile(**one) for one in whole["files"]]
        for file in files:
            check_path(file.path)
            _expect(type(file.size) is int and 0 <= file.size < LARGEST, f"the size of {file.path}", file.size)
            _expect(bool(HEX.fullmatch(file.sha256)), f"the checksum of {file.path}", file.sha256)
            _expect(isinstance(file.source, str) and isinstance(file.stamp, str), "the source", file.source)
        found = {file.path: file for file in files}
        _expect(len(found) == len(files), "the list of files", "a path twice")
        runs = [_run(**one) for one in whole["runs"]]
        for run in runs:
            _expect(isinstance(run.uid, str) and run.path in found, f"the run {run.uid!r}", run.path)
            _expect(type(run.documents) is int and bool(HEX.fullmatch(run.digest)), f"the run {run.uid}", run.digest)
            _expect(type(run.finished) is bool, f"the run {run.uid}", run.finished)
            for named in run.files:
                _expect(named.path is None or named.path in found, f"a file of run {run.uid}", named.path)
        _expect(whole["documents"] in DRIVERS, "the form of documents", whole["documents"])
        root_map = {str(root): str(target) for root, target in whole["root_map"].items()}
        for root, target in root_map.items():
            if not (os.path.isabs(target) or "://" in target):  # where files were left; else in the pack
                check_path(f"{target}/name")
            _expect(not any(begin in root + target for begin in TEMPLATE), "the root_map", root)
        own = {run.uid: run for run in runs}
        _expect(len(own) == len(runs), "the list of runs", "a uid twice")
        return cls(whole["documents"], own, found, root_map, str(whole["time"]), str(whole["software"]))


def _run(files: list[Mapping[str, Any]], **others: Any) -> PackedRun:
    return PackedRun(**others, files=tuple(NamedFile(**one) for one in files))


def _expect(sound: bool, what: str, found: object) -> None:
    if not sound:
        raise DamagedPack(f"{MANIFEST} is not as it should be: {what} is {found!r}")


def check_path(path: object) -> str:
    """A path that a pack from elsewhere names, if it is one of a file of a pack.

    Raises
    ------
    UntrustedName
    """
    sound = isinstance(path, str) and path.isprintable() | (not re.search("[\0\ud800-\udfff]", path))
    parts = re.split(r"[/\\]", path) if isinstance(path, str) else []
    place = path.split("/") if isinstance(path, str) else []
    if (
        not sound
        or ".." in parts
        or any(part in ("", ".") for part in place)
        or PureWindowsPath(str(path)).drive
        or not ((place[0] in (DOCUMENTS, ASSETS) and len(place) > 1) or path in (CATALOG, MANIFEST, SUMS))
    ):
        raise UntrustedName(
            f"the pack names the file {path!r}, which leads out of it or is none of a pack: it is refused"
        )
    return str(path)


def _line(file: PackedFile) -> bytes:
    """As ``sha256sum`` writes it."""
    name = os.fsencode(file.path)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != name else b"") + f"{file.sha256}  ".encode() + escaped + b"\n"
