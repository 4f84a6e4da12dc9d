"""The configuration of a stream's devices, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from intake_bluesky.catalogs.display.displayed import Displayed
from intake_bluesky.catalogs.display.stream import configurations_html, configurations_line, configurations_text
from intake_bluesky.catalogs.stream import BlueskyStream

__all__ = ["Configurations"]


class Configurations(Displayed, Mapping[str, BlueskyStream]):
    """The configuration of a stream's devices, each a source; of a device that has none a Dataset without variables."""

    def __init__(self, stream: BlueskyStream, devices: Sequence[str], part: str) -> None:
        self._stream, self._devices, self._part = stream, devices, part

    def __getitem__(self, device: str) -> BlueskyStream:
        return self._stream(configuration_for=device, sub_dict=self._part)

    def __iter__(self) -> Iterator[str]:
        return iter(self._devices)

    def __len__(self) -> int:
        return len(self._devices)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._devices)

    def _line(self) -> str:
        return configurations_line(self._devices, self._part)

    def _lines(self, width: int) -> str:
        return configurations_text(self._stream._layout, self._devices, self._part, width)

    def _html(self) -> str:
        return configurations_html(self._stream._layout, self._devices, self._part)
