"""Packages by which fsspec opens URLs."""

from __future__ import annotations

from typing import Final

from intake_bluesky.errors import MissingDependency
from intake_bluesky.runtime.secrets import shown

__all__ = ["check_filesystems"]

PACKAGES: Final = {
    "s3": "s3fs>=2024.6", "s3a": "s3fs>=2024.6", "http": "fsspec[http]", "https": "fsspec[http]",
    "gs": "fsspec[gcs]", "gcs": "fsspec[gcs]", "abfs": "fsspec[abfs]", "az": "fsspec[abfs]", "adl": "fsspec[abfs]",
    "sftp": "fsspec[ssh]", "ssh": "fsspec[ssh]", "smb": "fsspec[smb]", "github": "fsspec[github]",
    "webdav": "webdav4",
}  # fmt: skip


def check_filesystems(url: str) -> None:
    """Import what opens a URL, or each part of a chained one.

    Raises
    ------
    MissingDependency
        With the command that installs what fsspec lacks.
    """
    from fsspec.registry import get_filesystem_class

    for part in url.split("::"):
        protocol = part.partition("://")[0]
        try:
            get_filesystem_class(protocol)
        except ValueError:  # opening it tells that fsspec knows no such protocol
            return
        except ImportError as error:
            package = PACKAGES.get(protocol)
            cure = f': pip install "{package}"' if package else ""
            raise MissingDependency(
                f"{shown(url)} needs a package that is not installed ({shown(str(error))}){cure}"
            ) from error
