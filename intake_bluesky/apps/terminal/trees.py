"""A run as a tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.apps.terminal.page import counted
from intake_bluesky.catalogs.display.values import local_time, parameters_of, status
from intake_bluesky.errors import IntakeBlueskyError

if TYPE_CHECKING:
    import xarray as xr
    from rich.tree import Tree

    from intake_bluesky.catalogs.run import BlueskyRun

__all__ = ["describe_run", "run_tree"]

SHOWN: Final = 5  # files


def describe_run(run: BlueskyRun) -> dict[str, Any]:
    """The facts of a run, its data unread: plain values, as JSON has them."""
    start, stop = run.metadata["start"], run.metadata["stop"]
    streams = {name: _describe_stream(run, name) for name in run}
    files = [file._asdict() for file in run.files()]
    return {
        "uid": start["uid"],
        "start": dict(start),
        "stop": None if stop is None else dict(stop),
        "streams": streams,
        "files": files,
    }


def _describe_stream(run: BlueskyRun, name: str) -> dict[str, Any]:
    from intake_bluesky.datasets.presentation import columns  # late, as all that takes dask

    stream = run[name]
    try:
        dataset = stream(text_dtype="string", as_events=True).to_dask()
    except IntakeBlueskyError as error:  # the other streams are shown
        return {"events": None, "variables": {}, "configuration": {}, "error": str(error)}
    return {
        "events": dataset.sizes["time"],
        "variables": {str(key): _describe_variable(variable) for key, variable in columns(dataset).data_vars.items()},
        "configuration": _describe_configuration(stream.metadata["descriptors"]),
    }


def _describe_variable(variable: xr.DataArray) -> dict[str, Any]:
    return {
        "dtype": "string" if variable.dtype.kind == "T" else str(variable.dtype),
        "dims": list(variable.dims),
        "shape": list(variable.shape),
        "units": variable.attrs.get("units"),
        "object": variable.attrs.get("object"),
    }


def _describe_configuration(descriptors: Any) -> dict[str, dict[str, Any]]:
    """The values of each device's configuration, as the last descriptor has them."""
    return {
        device: dict(block.get("data", {}))
        for descriptor in descriptors
        for device, block in descriptor.get("configuration", {}).items()
    }


def run_tree(description: Mapping[str, Any]) -> Tree:
    """A tree of the facts of `describe_run`."""
    from rich.text import Text
    from rich.tree import Tree

    start, stop = description["start"], description["stop"] or {}
    tree = Tree(Text(f"run {description['uid']}", style="bold"))
    facts = (f"scan_id {start.get('scan_id', '-')}", start.get("plan_name", "-"), status(description["stop"]))
    tree.add(Text("  ".join(map(str, facts))))
    tree.add(Text(f"{local_time(start.get('time'))} to {local_time(stop.get('time'))}"))
    if parameters_of(start):
        tree.add(Text(f"parameters {parameters_of(start)}"))
    if stop.get("reason"):
        tree.add(Text(f"reason: {stop['reason']}"))
    for name, stream in description["streams"].items():
        _add_stream(tree, name, stream)
    if description["files"]:
        branch = tree.add(Text(f"files ({len(description['files'])})", style="bold"))
        _add_files(branch, description["files"])
    return tree


def _add_stream(tree: Tree, name: str, stream: Mapping[str, Any]) -> None:
    from rich.text import Text

    counts = "" if stream["events"] is None else counted(stream["events"], "event")
    branch = tree.add(Text.assemble((name, "bold"), f"  {counts}"))
    if "error" in stream:
        branch.add(Text(stream["error"], style="red"))
    for key, variable in stream["variables"].items():
        sizes = ", ".join(f"{dim}: {size}" for dim, size in zip(variable["dims"], variable["shape"], strict=True))
        units = f"  {variable['units']}" if variable["units"] else ""
        branch.add(Text.assemble((key, "cyan"), f"  {variable['dtype']} ({sizes}){units}"))
    configured = {device: values for device, values in stream["configuration"].items() if values}
    if configured:
        settings = branch.add(Text("configuration", style="italic"))
        for device, values in configured.items():
            shown = ", ".join(f"{key}={_short(value)}" for key, value in values.items())
            settings.add(Text.assemble((device, "cyan"), f"  {shown}"))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _add_files(branch: Tree, files: list[Mapping[str, Any]]) -> None:
    from rich.text import Text

    missing = [file for file in files if not file["exists"] and not file["problem"]]
    refused = [file for file in files if file["problem"]]
    # All that are missing, before any others: they are why somebody looks at the files.
    first = [*missing, *refused[:SHOWN]]
    listed = [*first, *(file for file in files if file["exists"])]
    for file in listed[: max(SHOWN, len(first))]:
        size = f"{file['size']:,} bytes" if file["exists"] else file["problem"] or "missing"
        branch.add(Text.assemble(file["path"], (f"  {size}", "" if file["exists"] else "red")))
    if len(refused) > SHOWN:
        branch.add(Text(f"... {len(refused) - SHOWN} more are not read (--json lists all)", style="red"))
    if len(listed) > max(SHOWN, len(first)):
        total = sum(file["size"] or 0 for file in files)
        branch.add(Text(f"... {total:,} bytes together (--json lists all)"))
