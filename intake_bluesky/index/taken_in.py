"""What an index took in of segments that were published beside the files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from intake_bluesky.index.entries import drop_entries, spread_statistics
from intake_bluesky.index.sqlite_file import IndexFile

__all__ = ["PublishedSegments"]


class PublishedSegments(IndexFile):
    """The part of `Index` that knows which segments were taken in, and what they said was removed."""

    def segments(self) -> dict[str, str]:
        """The tags of the published segments that were taken in, by name."""
        return dict(self._ask("SELECT name, tag FROM segments"))

    def note_segments(self, taken: Mapping[str, str], gone: Iterable[str] = ()) -> None:
        """Note which published segments were taken in, and which there are no more."""
        with self._writing() as db:
            db.executemany("DELETE FROM segments WHERE name = ?", [(name,) for name in gone])
            db.executemany("INSERT OR REPLACE INTO segments VALUES (?, ?)", taken.items())

    def removed(self) -> set[tuple[str, str]]:
        """(path, stamp) of the files that somebody removed, so that older segments do not bring them back."""
        return set(self._ask("SELECT path, stamp FROM removed"))

    def remove(self, files: Iterable[tuple[str, str]]) -> None:
        """Drop what is kept of files in these versions, and note that they were removed."""
        several = list(files)
        with self._changing() as db:
            db.executemany("INSERT OR IGNORE INTO removed VALUES (?, ?)", several)
            known = dict(
                db.execute(
                    "SELECT path, stamp FROM files WHERE path IN (SELECT value FROM json_each(?))",
                    (json.dumps([path for path, _ in several]),),
                )
            )
            drop_entries(db, [path for path, stamp in several if known.get(path) == stamp])

    def add_details(self, details: Iterable[tuple[str, str, bytes | None, bytes | None]]) -> None:
        """Add layout and statistics to entries that lack them, by path and the version of their stamps."""
        with self._writing() as db:
            spread = [key for (key,) in db.execute("SELECT key FROM spread")]
            for path, stamp, layout, statistics in details:
                found = db.execute(
                    "SELECT id, finished, measured FROM files WHERE path = ? AND stamp = ?", (path, stamp)
                )
                for number, finished, measured in found.fetchall():
                    if layout is not None:
                        db.execute(
                            "UPDATE documents SET layout = ? WHERE file = ? AND layout IS NULL", (layout, number)
                        )
                    if statistics is not None and finished and not measured:
                        db.execute("INSERT INTO measured VALUES (?, ?)", (number, statistics))
                        db.execute("UPDATE files SET measured = 1 WHERE id = ?", (number,))
                        for key in spread:
                            spread_statistics(db, key, [(number, statistics)])
