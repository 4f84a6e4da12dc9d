"""Arguments, errors and exit codes; each command is a module of its own, imported when it is used."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

from intake_bluesky._version import __version__
from intake_bluesky.errors import (
    EmptyCatalogWarning,
    IntakeBlueskyError,
    QuerySyntaxError,
    SourceLeftOutWarning,
    UnknownKeyWarning,
    printable,
)

__all__ = ["FINE", "FOUND", "UNUSABLE", "main"]

FINE: Final = 0
FOUND: Final = 1
"""`validate` or `unpack --check` found something, or something was not copied."""
UNUSABLE: Final = 2
"""Bad usage, or a catalog or run that cannot be opened."""
INTERRUPTED: Final = 130  # as shells report SIGINT

CATALOG: Final = """a YAML catalog (catalogs/demo.yml; :NAME after it chooses an entry), files (a folder,
a file, or a quoted pattern such as 'data/*.jsonl'), the URI of a database (mongodb://, sqlite:///, postgresql://), an
SQLite file, or the name of an installed catalog"""
RUN: Final = "a uid, the first letters of one, a scan_id, or -1 for the newest run, -2 for the one before ..."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.

    Returns
    -------
    int
        Exit code: 0 fine, 1 something was found wrong or not copied, 2 bad usage or something cannot be opened.

    Examples
    --------
    >>> main(["ls", "/nowhere/catalog.yml"])
    2
    """
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has written the reason; callers in Python get a code, not an exit
        return int(stop.code or 0)
    try:
        # Only the module of this command: `--help` and typing errors should not wait for dask and xarray.
        module = import_module(f"intake_bluesky.apps.cli.{arguments.command}")
        with _warnings_of_searches():
            code: int = module.run(arguments)
        # Now, while a closed pipe or a full disk is still an error of ours to report.
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` closed the pipe: no error, but Python would flush into it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the program: a line for the user, a code for the script
        return _complain(error, debug=arguments.debug)
    return code


@contextmanager
def _warnings_of_searches() -> Iterator[None]:
    """Write warnings of keys that no run has, and of sources, as errors are written; leave all others to Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UnknownKeyWarning)
        warnings.simplefilter("always", SourceLeftOutWarning)
        warnings.simplefilter("ignore", EmptyCatalogWarning)  # of which each command makes an error
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, UnknownKeyWarning | SourceLeftOutWarning):
                sys.stderr.write(f"intake-bluesky: {printable(' '.join(str(message).split()))}\n")
            else:
                show(message, category, *where, **more)

        warnings.showwarning = tell
        yield


def _complain(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    expected = isinstance(error, (IntakeBlueskyError, OSError))
    text = str(error) if expected and str(error) else f"{type(error).__name__}: {error}"
    said = text if isinstance(error, QuerySyntaxError) else " ".join(text.split())  # its lines show the column
    sys.stderr.write(f"intake-bluesky: {printable(said)}\n")
    return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="intake-bluesky",
        description="Bluesky runs as Intake catalogs.",
        epilog="Exit codes: 0 fine, 1 something was found wrong or not copied, 2 bad usage or cannot be opened.",
    )
    parser.add_argument("--version", action="version", version=f"intake-bluesky {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = _command(commands, "demo", "run simulated experiments, open them as a catalog, draw a picture", json=False)
    demo.add_argument("folder", nargs="?", default="demo-data", help="where to put the data (default: %(default)s)")
    installed = _command(commands, "catalogs", "list the catalogs that this machine offers by name")
    installed.add_argument("--yaml", metavar="NAME", help="write a configuration file of databroker in Intake's YAML")
    _add_index(commands)
    listing = _command(commands, "ls", "list the runs of a catalog, newest first", catalog=True)
    listing.add_argument(
        "-n", "--limit", type=_count, default=50, help="at most so many; 0 for all (default: %(default)s)"
    )
    _add_search(commands)
    _add_copy(commands)
    show = _command(commands, "show", "show one run: streams, variables, configuration, files", catalog=True)
    show.add_argument("run", metavar="RUN", help=RUN)
    validate = _command(commands, "validate", "find what is damaged, missing or odd, and where", catalog=True)
    validate.add_argument("run", metavar="RUN", nargs="?", help=f"{RUN} (default: all runs)")
    validate.add_argument(
        "--no-schema", action="store_true", help="do not hold documents to event-model's schemas: faster"
    )
    _add_packs(commands)
    return parser


def _add_packs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    pack = _command(
        commands, "pack", "put runs and their files into a folder or a zip file that opens anywhere", catalog=True
    )
    pack.add_argument(
        "target", metavar="TARGET", help="a new folder, or a file that ends with .zip; or a pack, to add to it"
    )
    pack.add_argument("--query", metavar="QUERY", help="the runs that match, as of search (default: all)")
    pack.add_argument(
        "--format", choices=["jsonl", "msgpack"], default="jsonl", help="of the documents (default: %(default)s)"
    )
    pack.add_argument(
        "--no-assets", dest="assets", action="store_false", help="leave files of detectors where they are"
    )
    unpack = _command(commands, "unpack", "copy a pack into a folder or a catalog, or compare it with its checksums")
    unpack.add_argument("pack", metavar="PACK", help="a folder or zip file of pack, or a folder of databroker-pack")
    unpack.add_argument(
        "target", metavar="TARGET", nargs="?", help="a new folder; or a YAML catalog or a database that can be written"
    )
    unpack.add_argument("--assets-into", metavar="FOLDER", help="where files go that are unpacked into a catalog")
    unpack.add_argument("--check", action="store_true", help="write nothing: name what is damaged, missing or unknown")


def _add_index(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    indexing = _command(
        commands,
        "index",
        "look into all files of runs now, and publish what was learnt; of a database, name the indexes that it lacks",
    )
    indexing.add_argument("catalogs", nargs="+", metavar="CATALOG", help=CATALOG)
    indexing.add_argument(
        "--scan", action=argparse.BooleanOptionalAction, default=True, help="read all of each file, not only its ends"
    )
    indexing.add_argument(
        "--publish",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="put a copy beside the files, for other users and machines to start from",
    )
    indexing.add_argument(
        "--make", action="store_true", help="make the indexes that a database lacks; without, they are only named"
    )


def _add_search(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    search = _command(commands, "search", "list the runs that match a query", catalog=True)
    search.add_argument(
        "query", metavar="QUERY", help="conditions, such as \"plan_name == 'scan' and scan_id > 5\", or words"
    )
    form = search.add_mutually_exclusive_group()
    form.add_argument("--words", action="store_true", help="QUERY is words that all occur in the run start")
    form.add_argument("--mongo", action="store_true", help='QUERY is JSON as MongoDB has it, \'{"plan_name": "scan"}\'')
    search.add_argument("--columns", metavar="KEYS", help="what to show, such as start.time,stop.exit_status")
    search.add_argument(
        "--sort", metavar="KEYS", help="in which order, such as plan_name; the largest first: --sort=-scan_id"
    )
    search.add_argument(
        "-n", "--limit", type=_count, default=50, help="show at most so many; 0 for all (default: %(default)s)"
    )
    search.add_argument(
        "--read-at-most", metavar="SIZE", help="how much data to read where no statistics are kept, such as 10GiB"
    )
    search.add_argument("--save", metavar="NAME.yml", help="write a catalog of the runs that match, now and later")


def _add_copy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    copying = _command(commands, "copy", "copy runs from one catalog into another, and compare them with their source")
    copying.add_argument("source", metavar="SRC", help=CATALOG)
    copying.add_argument(
        "target", metavar="DST", help="such a catalog, which need not be there yet: 'new/*.jsonl', new.db, a folder"
    )
    copying.add_argument(
        "--driver", metavar="NAME", help="of a new DST whose name does not say its kind: jsonl, msgpack, sql"
    )
    copying.add_argument("--query", metavar="TEXT", help="copy the runs that match alone: conditions, or words")
    copying.add_argument(
        "--assets", choices=("link", "copy", "embed"), default="link",
        help="leave the files of detectors where they are, copy them, too, or write their arrays into DST, a Zarr "
        "catalog (default: %(default)s)",
    )  # fmt: skip
    copying.add_argument(
        "--assets-into", metavar="FOLDER", help="where to copy files, also s3://bucket/folder (default: assets in DST)"
    )
    copying.add_argument("--unfinished", action="store_true", help="copy runs without a stop, too, as far as they go")
    copying.add_argument("--dry-run", action="store_true", help="read and compare, and write nothing")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    purpose: str,
    *,
    catalog: bool = False,
    json: bool = True,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    command.set_defaults(command=name)
    command.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    if catalog:
        command.add_argument("catalog", metavar="CATALOG", help=CATALOG)
    if json:
        command.add_argument("--json", action="store_true", help="write one JSON document to standard output")
    return command


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        # argparse makes an error of usage of it, with its own message.
        raise ValueError("negative")
    return count
