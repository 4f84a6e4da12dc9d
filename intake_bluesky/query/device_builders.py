"""How people write what was recorded and by which hardware: ``Config("fccd", "exposure_time") > 0.1``.

All of it is about event descriptors, by one node, `AnyDescriptor`.
"""

from __future__ import annotations

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.builders import Field
from intake_bluesky.query.descriptor_nodes import AnyDescriptor, checked_stream, stream_argument
from intake_bluesky.query.nodes import ALL, Query
from intake_bluesky.query.paths import Path


class Descriptor(Field):
    """A key of an event descriptor, inside `AnyDescriptor`.

    Examples
    --------
    >>> AnyDescriptor((Descriptor("name") == "primary") & Descriptor("data_keys", "th.x").exists())
    AnyDescriptor((Descriptor('name') == 'primary') & Descriptor('data_keys', 'th.x').exists())
    """

    __slots__ = ()
    document = "descriptor"


class DescriptorField(Field):
    """A place in the descriptors of a run; a comparison is true where it is so of some descriptor."""

    __slots__ = ("stream",)

    def __init__(self, *segments: str, stream: str | None = None) -> None:
        if not all(isinstance(segment, str) for segment in segments):
            raise UnsupportedQuery(f"devices and keys are named by texts, not {segments!r}")
        self.path, self.stream = Path("descriptor", segments), checked_stream(stream)

    def __repr__(self) -> str:
        return f"AnyDescriptor({self.path}{stream_argument(self.stream)})"

    def _made(self, query: Query) -> Query:
        return AnyDescriptor(query, self.stream)


class Config(DescriptorField):
    """A configuration value of a device, as it was when a stream was described.

    Parameters
    ----------
    device, key
        Literally: dots are part of them. Keys are commonly recorded with the device's name before them; then both
        ``Config("fccd", "fccd_exposure_time")`` and the name without it are different keys.
    stream
        In the descriptors of this stream only.

    Examples
    --------
    >>> Config("fccd", "exposure_time") > 0.1
    AnyDescriptor(Descriptor('configuration.fccd.data.exposure_time') > 0.1)
    """

    __slots__ = ()

    def __init__(self, device: str, key: str, *, stream: str | None = None) -> None:
        super().__init__("configuration", device, "data", key, stream=stream)


class DataKey:
    """A data key that some stream, or this one, has.

    Examples
    --------
    >>> DataKey("theta", stream="primary").exists()
    AnyDescriptor(Descriptor('data_keys.theta').exists(), stream='primary')
    >>> DataKey("theta").field("units") == "deg"
    AnyDescriptor(Descriptor('data_keys.theta.units') == 'deg')
    """

    __slots__ = ("key", "stream")

    def __init__(self, key: str, stream: str | None = None) -> None:
        self.key, self.stream = key, checked_stream(stream)

    def __repr__(self) -> str:
        return f"DataKey({self.key!r}{stream_argument(self.stream)})"

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is no query yet: ask {self!r}.exists(), or compare a {self!r}.field('units')")

    def exists(self) -> Query:
        """Match where a descriptor declares the key."""
        return DescriptorField("data_keys", self.key, stream=self.stream).exists()

    def field(self, *segments: str) -> DescriptorField:
        """Take a field of the key in a descriptor: ``units``, ``source``, ``dtype``, ``shape``, ``precision`` ..."""
        return DescriptorField("data_keys", self.key, *segments, stream=self.stream)


class Device:
    """A device that took part: it has data keys, configuration or hints in some descriptor.

    Examples
    --------
    >>> Device("fccd").exists() == AnyDescriptor(
    ...     Descriptor("object_keys.fccd").exists()
    ...     | Descriptor("configuration.fccd").exists()
    ...     | Descriptor("hints.fccd").exists()
    ... )
    True
    """

    __slots__ = ("name", "stream")

    def __init__(self, name: str, stream: str | None = None) -> None:
        self.name, self.stream = name, checked_stream(stream)

    def __repr__(self) -> str:
        return f"Device({self.name!r}{stream_argument(self.stream)})"

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is no query yet: ask {self!r}.exists()")

    def exists(self) -> Query:
        """Match where a descriptor has the device among ``object_keys``, ``configuration`` or ``hints``."""
        keys, configuration, hints = (
            Descriptor(part, self.name).exists() for part in ("object_keys", "configuration", "hints")
        )
        return AnyDescriptor(keys | configuration | hints, self.stream)

    def config(self, key: str) -> Config:
        """Take a configuration value of the device, as `Config` does."""
        return Config(self.name, key, stream=self.stream)


class Stream:
    """A stream of events.

    Examples
    --------
    >>> Stream("baseline").exists()
    AnyDescriptor(ALL, stream='baseline')
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if checked_stream(name) is None:
            raise UnsupportedQuery("a stream has a name, as in Stream('primary')")
        self.name = name

    def __repr__(self) -> str:
        return f"Stream({self.name!r})"

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is no query yet: ask {self!r}.exists()")

    def exists(self) -> Query:
        """Match where the run has a descriptor of the stream; one without a name is of ``primary``."""
        return AnyDescriptor(ALL, self.name)
