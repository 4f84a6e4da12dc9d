"""Queries: what a catalog is searched with.

>>> (Start("plan_name") == "scan") & ~(Stop("exit_status") == "fail")
(Start('plan_name') == 'scan') & (Stop('exit_status') != 'fail')

`matches` says in plain Python what each query means; `from_mongo` reads MongoDB's form; `to_json` and
`from_json` keep queries; `split` divides one between a store and `matches`.
"""

from __future__ import annotations

from intake_bluesky.query.builders import Field, Item, Key, Start, Stop
from intake_bluesky.query.conditions import (
    AnyItem,
    Compare,
    Contains,
    Exists,
    HasSize,
    In,
    IsNaN,
    Operator,
    PathQuery,
    Regex,
)
from intake_bluesky.query.databroker import (
    Comparison,
    Eq,
    NotEq,
    NotIn,
    RawMongo,
    TextQuery,
)
from intake_bluesky.query.matches import RunView, matches
from intake_bluesky.query.mongo import from_mongo
from intake_bluesky.query.nodes import (
    ALL,
    And,
    Everything,
    Not,
    Or,
    Query,
    all_of,
    any_of,
    leaves,
    replace_leaves,
)
from intake_bluesky.query.paths import Path
from intake_bluesky.query.plan import split, to_nnf
from intake_bluesky.query.runs import (
    Duplicates,
    FullText,
    Node,
    PartialUID,
    ScanID,
    ScanIDRange,
    TimeRange,
    documents_needed,
    settle_scan_ids,
)
from intake_bluesky.query.serial import from_json, to_json
from intake_bluesky.query.values import FrozenDict, Value

__all__ = [
    "ALL",
    "And",
    "AnyItem",
    "Compare",
    "Comparison",
    "Contains",
    "Duplicates",
    "Eq",
    "Everything",
    "Exists",
    "Field",
    "FrozenDict",
    "FullText",
    "HasSize",
    "In",
    "IsNaN",
    "Item",
    "Key",
    "Node",
    "Not",
    "NotEq",
    "NotIn",
    "Operator",
    "Or",
    "PartialUID",
    "Path",
    "PathQuery",
    "Query",
    "RawMongo",
    "Regex",
    "RunView",
    "ScanID",
    "ScanIDRange",
    "Start",
    "Stop",
    "TextQuery",
    "TimeRange",
    "Value",
    "all_of",
    "any_of",
    "documents_needed",
    "from_json",
    "from_mongo",
    "leaves",
    "matches",
    "replace_leaves",
    "settle_scan_ids",
    "split",
    "to_json",
    "to_nnf",
]
