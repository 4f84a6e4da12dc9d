"""Arguments that cannot be right, in YAML and in Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import intake
import pytest
import yaml

from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.run_catalog import open_catalog
from intake_bluesky.errors import StoreUnavailable

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"root_map": "/x"}, "'root_map' .* mapping of folders .* given as a str"),
    ({"root_map": ["/x"]}, "given as a list"),
    ({"root_map": {"/old": None}}, "'/old': NoneType"),
    ({"handler_registry": ["a"]}, "'handler_registry' .* given as a list"),
    ({"handler_registry": {"A": None}}, "'A': NoneType"),
    ({"transforms": "a"}, "'transforms'"),
    ({"storage_options": "hunter2"}, "'storage_options' .* given as a str"),
    ({"ttl": "x"}, "'ttl' .* number of seconds"),
    ({"paths": 7}, "'paths' .* a path or a list of paths, and was given as a int"),
    ({"paths": [None]}, "'paths' .* given as a list"),
    ({"directory": True}, "'directory' .* a path, and was given as a bool"),
    ({"compression": 1}, "'compression'"),
    ({"rootmap": {}}, "no argument 'rootmap': did you mean 'root_map'"),
    ({"pats": "x"}, "no argument 'pats': did you mean 'paths'"),
]


@pytest.mark.parametrize(("args", "told"), WRONG)
def test_wrong_arguments_are_named(args: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "catalog.yml"
    source = {"driver": "bluesky-jsonl-catalog", "args": {"paths": str(tmp_path), **args}}
    path.write_text(yaml.safe_dump({"sources": {"runs": source}}))
    right = {"driver": "bluesky-jsonl-catalog", "args": {"paths": str(tmp_path)}}
    (tmp_path / "right.yml").write_text(yaml.safe_dump({"sources": {"runs": right}}))
    uses: list[Callable[[], object]] = [
        partial(intake.open_bluesky_jsonl_catalog, **{"paths": str(tmp_path), **args}),
        lambda: open_catalog(path)["runs"],
        lambda: intake.open_catalog(str(path))["runs"],
        lambda: open_catalog(tmp_path / "right.yml")["runs"](**args),
    ]
    for use in uses:
        with pytest.raises(WrongArgument, match=told) as caught:
            use()
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"writable": "no"}, "'writable' .* True or False, and was given as a str"),
        ({"find_kwargs": [1]}, "'find_kwargs' .* mapping of options by name"),
    ],
)
def test_wrong_arguments_of_a_database_reach_no_server(args: dict[str, Any], told: str) -> None:
    with pytest.raises(WrongArgument, match=told):
        intake.open_bluesky_mongo_normalized_catalog("mongodb://nowhere/runs", "mongodb://nowhere/runs", **args)


def test_a_driver_that_is_not_installed(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yml"
    path.write_text("sources: {runs: {driver: bluesky-json-catalog, args: {paths: x}}}")
    with pytest.raises(StoreUnavailable, match=r"did you mean 'bluesky-jsonl-catalog'.*bluesky-sql-catalog"):
        open_catalog(path)["runs"]
