"""Packing runs: their documents, encoded and looked at once more, and their files, each once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from zstandard import ZstdCompressor

from intake_bluesky.assets.hdf5.linked_files import is_hdf5
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.names import plain
from intake_bluesky.documents.model import Document, RunHeader, identical
from intake_bluesky.errors import (
    AssetUnavailable,
    CopyFailed,
    DamagedRun,
    DuplicateRun,
    IntakeBlueskyError,
    StoreUnavailable,
    UntrustedName,
)
from intake_bluesky.files.codec import CODECS, Codec
from intake_bluesky.files.run_writer import SAFE
from intake_bluesky.runtime.progress import track
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.transfer.asset_names import AssetRoots
from intake_bluesky.transfer.copier import answers
from intake_bluesky.transfer.digests import Digest, Relation, compare, json_form
from intake_bluesky.transfer.manifest import DOCUMENTS, Manifest, NamedFile, PackedFile, PackedRun
from intake_bluesky.transfer.pack_sources import BLOCK, digest_of
from intake_bluesky.transfer.pack_targets import PackTarget
from intake_bluesky.transfer.report import CopiedFile, CopyReport
from intake_bluesky.transfer.run_assets import RunAsset, links_of, run_assets
from intake_bluesky.transfer.sources import Source, Sources

__all__ = ["RunPacker"]

FRAME: Final = 1 << 20  # bytes of documents that are compressed together, and can be read without the others
SIGNATURE: Final = 8  # first bytes of a file that tell what it is
TRIES: Final = 3  # for a file that changes while it is read
PAUSE: Final = 0.2


class RunPacker:
    """Packs runs into one target.

    Parameters
    ----------
    target : PackTarget
    where : Path
        Of the pack, for the report.
    form : str
        Of documents: ``"jsonl"`` or ``"msgpack"``.
    copies : bool
        Whether files are copied into it.
    """

    def __init__(self, target: PackTarget, where: Path, form: str, *, copies: bool) -> None:
        self._target, self._where, self._copies = target, where, copies
        self._codec = CODECS[form]
        self._packer = ZstdCompressor(level=3, write_checksum=True)
        self._known = {} if target.previous is None else dict(target.previous.runs)
        self._manifest = Manifest(form, runs=dict(self._known))
        self._roots = AssetRoots()
        self._elsewhere: dict[str, str] = {}  # where files are that stay where they are
        if target.previous is not None:
            inside = {root: place for root, place in target.previous.root_map.items() if place.startswith("assets/")}
            self._elsewhere = {root: place for root, place in target.previous.root_map.items() if root not in inside}
            self._roots.take(inside)
        # Files of runs that had ended: what is at their places stays there.
        ended = (run for run in self._known.values() if run.finished)
        self._settled = {file.path for run in ended for file in run.files if file.path is not None}
        self._done: dict[str, NamedFile] = {}  # by the places in this pack
        self.report = CopyReport()

    def pack(self, sources: Sources) -> CopyReport:
        """Pack all of them.

        Raises
        ------
        CopyFailed
            When a store, or the disk of the pack, fails as a whole.
        """
        try:
            for source in track(sources, total=len(sources), what="packing"):
                if isinstance(source, str):
                    self.report.refused[source] = "it is no longer there"
                else:
                    self._each(source)
            self.report.root_map = self._finish()
        except (StoreUnavailable, OSError) as error:
            so_far = f"So far: {self.report.head}. Once that is mended, the same call goes on from here"
            raise CopyFailed(f"packing stopped: {error}. {so_far}", self.report) from error
        return self.report

    def _finish(self) -> dict[str, str]:
        self._manifest.root_map = {**self._elsewhere, **self._roots.root_map()}
        used = {run.path for run in self._manifest.runs.values()}
        used |= {file.path for run in self._manifest.runs.values() for file in run.files if file.path is not None}
        self._manifest.files = {path: file for path, file in self._target.files.items() if path in used}
        self._manifest.time = datetime.now(UTC).isoformat(timespec="seconds")
        self._target.finish(self._manifest)
        return self._manifest.root_map

    def _each(self, source: Source) -> None:
        """Pack a run, or note why it cannot be."""
        try:
            before = _header(source)
            run = self._documents(source)
            files = tuple(self._files(source))
            self._check_same(source, before, run)
        except Exception as error:  # one run hides no others
            ours = isinstance(error, IntakeBlueskyError) and not isinstance(error, StoreUnavailable)
            if isinstance(error, OSError) and not ours:
                raise
            told = str(error) if ours else f"{type(error).__name__}: {error}"
            self.report.refused[source.uid] = told
            return
        known = self._known.get(run.uid)
        self._manifest.runs[run.uid] = replace(run, files=files)
        if known is not None and known.digest == run.digest:
            self.report.skipped.append(run.uid)
        else:
            self.report.copied.append(run.uid)
            self.report.documents += run.documents

    def _check_same(self, source: Source, before: RunHeader, run: PackedRun) -> None:
        """Refuse a run that is another by now; one that only went on has more files than its documents name."""
        now = _header(source)
        ended = run.finished and now.version != before.version
        if ended or not identical(dict(now.start), dict(before.start)):
            raise DamagedRun("it was replaced, or ended, while it was packed, and may name other files: pack it again")

    def _documents(self, source: Source) -> PackedRun:
        uid = source.uid
        if not SAFE.fullmatch(uid) or uid.endswith((".", " ")):
            raise UntrustedName(f"a run's uid names its file, and {uid!r} cannot: use letters, digits, - and _")
        path = f"{DOCUMENTS}/{uid}{self._codec.suffix}.zst"
        there, known = self._target.files.get(path), self._known.get(uid)
        if there is not None or known is not None:
            run = self._packed(source, path, _CountedStream(self._codec, source, check=False))
            if there is not None and there.stamp == run.digest:
                return run
            if known is not None and known.finished and known.digest != run.digest:
                raise DuplicateRun(
                    f"{self._where} has another run of this uid, with other documents: pack into a new one"
                )
        stream = _CountedStream(self._codec, source, check=True)
        written = self._target.put(path, self._compressed(stream))
        run = self._packed(source, path, stream)
        self._target.keep(replace(written, stamp=run.digest))
        return run

    def _packed(self, source: Source, path: str, stream: _CountedStream) -> PackedRun:
        stream.exhaust()
        return PackedRun(source.uid, path, stream.documents, stream.digest.value.hex(), stream.finished)

    def _compressed(self, items: Iterable[bytes]) -> Iterator[bytes]:
        held: list[bytes] = []
        size = 0
        for item in items:
            held.append(item)
            size += len(item)
            if size >= FRAME:
                yield self._packer.compress(b"".join(held))
                held, size = [], 0
        if held:
            yield self._packer.compress(b"".join(held))

    def _files(self, source: Source) -> Iterator[NamedFile]:
        with _reading(source):
            waiting = list(run_assets(source))
        if not self._copies:
            self._elsewhere |= {root: _absolute(place) for root, place in source.assets.root_map.items()}
            yield from (self._left(asset) for asset in waiting)
            return
        told: set[str] = set()
        for asset in waiting:  # which grows while files lead to others
            if asset.problem or asset.location is None:
                yield self._missing(asset, asset.problem)
                continue
            if asset.place in told:
                continue
            told.add(asset.place)
            try:
                named, begin = self._file(asset, asset.location)
            except IntakeBlueskyError as error:
                yield self._missing(asset, str(error))
                continue
            if asset.name:
                self._roots.add(asset.name)
            yield named
            if is_hdf5(asset.location, begin):
                waiting.extend(links_of(asset))

    def _left(self, asset: RunAsset) -> NamedFile:
        return self._missing(asset, asset.problem) if asset.problem else NamedFile(_text(asset.path), None)

    def _missing(self, asset: RunAsset, problem: str) -> NamedFile:
        self.report.missing[asset.path] = problem
        return NamedFile(_text(asset.path), None, _text(problem))

    def _file(self, asset: RunAsset, location: Location) -> tuple[NamedFile, bytes]:
        """Copy a file, or find that its copy is there; and its first bytes."""
        try:
            asset.place.encode()
        except UnicodeEncodeError as error:
            raise UntrustedName(f"its name is no text that all machines can have: {asset.place!r}") from error
        done = self._done.get(asset.place)
        if done is not None and done.source != asset.path:
            raise AssetUnavailable(f"another file, {done.source}, is at its place in the pack, {asset.place}")
        begin, stamp = _looked_into(location)
        if done is None:
            there = self._target.files.get(asset.place)
            new = there is None or there.source != shown(asset.path) or there.stamp != stamp
            copied = self._copied(asset, location, stamp) if new else there
            assert copied is not None  # it is there, or was copied
            done = self._done[asset.place] = NamedFile(asset.path, asset.place)
            place = f"{self._where}/{asset.place}"
            self.report.files.append(CopiedFile(asset.path, place, copied.size, copied.sha256, new=new))
        return done, begin

    def _copied(self, asset: RunAsset, location: Location, stamp: str) -> PackedFile:
        if asset.place in self._settled and asset.place in self._target.files:
            there = self._target.files[asset.place]
            if digest_of(_read(location)) != there.sha256:
                raise AssetUnavailable("it has changed since it was packed: the pack keeps the file that it has")
            return there
        for _ in range(TRIES):
            copied = self._target.put(asset.place, _read(location), source=shown(asset.path), stamp=stamp)
            begun, stamp = stamp, _status(location)
            if stamp == begun:
                return self._target.keep(copied)
            time.sleep(PAUSE)
        raise AssetUnavailable(f"it changed while it was read, {TRIES} times: pack it again once nothing writes it")


class _CountedStream:
    """The documents of a run as bytes, with their number and digest once all were taken."""

    def __init__(self, codec: Codec, source: Source, *, check: bool) -> None:
        self._codec, self._source, self._check = codec, source, check
        self.digest = Digest(ordered=True)
        self.documents, self.finished = 0, False
        self._items = self._encoded()

    def __iter__(self) -> Iterator[bytes]:
        return self._items

    def exhaust(self) -> None:
        """Take what is left, for the digest."""
        for _ in self._items:
            pass

    def _encoded(self) -> Iterator[bytes]:
        with _reading(self._source):
            for name, doc in self._source.store.complete_documents(self._source.uid):
                if not self.documents and name != "start":
                    raise DamagedRun(f"run {self._source.uid} begins with {name}, not with a start document")
                form = self.digest.add(name, doc)
                self.documents += 1
                self.finished = self.finished or name == "stop"
                yield self._item(name, doc, form) if self._check else b""

    def _item(self, name: str, doc: Document, form: bytes) -> bytes:
        """Encode a document; what it decodes to has to be the same."""
        item = self._codec.encode(name, doc)
        found = self._codec.decode(item)
        same = json_form(*found) == form or compare([(name, doc)], [found], ordered=True) is Relation.SAME
        if not same:
            raise DamagedRun(
                f"{self._codec.suffix} does not give back the {name} document {doc.get('uid')!r}: try another format"
            )
        return item


def _header(source: Source) -> RunHeader:
    with _reading(source):
        return source.store.header(source.uid)


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    """What reading one run meets is of this run alone, as long as its store can be used for others."""
    try:
        yield
    except OSError as error:
        of_run = isinstance(error, IntakeBlueskyError) and not isinstance(error, StoreUnavailable)
        if of_run or not answers(source.store):
            raise
        raise DamagedRun(f"it cannot be read: {error}") from error


def _text(name: str) -> str:
    """A name as text that all programs read: names of files may be none."""
    return name.encode(errors="backslashreplace").decode()


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(plain(place))


def _status(location: Location) -> str:
    try:
        return location.status()[0]
    except OSError as error:
        raise AssetUnavailable(f"it cannot be looked at: {error}") from error


def _looked_into(location: Location) -> tuple[bytes, str]:
    """The first bytes of a file, and what changes when it does."""
    stamp = _status(location)
    try:
        with location.open() as file:
            return file.read(SIGNATURE), stamp
    except OSError as error:
        if isinstance(error, IntakeBlueskyError):
            raise
        raise AssetUnavailable(f"it cannot be read: {error}") from error


def _read(location: Location) -> Iterator[bytes]:
    """The bytes of a file; an error of reading it is not one of writing the copy."""
    try:
        with location.open() as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        if isinstance(error, IntakeBlueskyError):
            raise
        raise AssetUnavailable(f"it cannot be read: {error}") from error
