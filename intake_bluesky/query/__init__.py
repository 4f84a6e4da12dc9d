"""Queries: what a catalog is searched with.

>>> (Start("plan_name") == "scan") & ~(Stop("exit_status") == "fail")
(Start('plan_name') == 'scan') & (Stop('exit_status') != 'fail')

`matches` says in plain Python what each query means; `from_mongo` reads MongoDB's form; `to_json` and
`from_json` keep queries; `split` divides one between a store and `matches`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intake_bluesky.late_names import late_names
from intake_bluesky.query.builders import Field, Item, Key, Start, Stop
from intake_bluesky.query.data_nodes import (
    CompareStatistic,
    Data,
    DataBetween,
    DataQuery,
    DataWithin,
    Statistic,
    StatisticName,
)
from intake_bluesky.query.databroker import (
    Comparison,
    Eq,
    NotEq,
    NotIn,
    RawMongo,
    TextQuery,
)
from intake_bluesky.query.descriptor_nodes import AnyDescriptor
from intake_bluesky.query.device_builders import Config, DataKey, Descriptor, DescriptorField, Device, Stream
from intake_bluesky.query.json_form import from_json, to_json
from intake_bluesky.query.matches import RunEnds, RunView, matches
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
from intake_bluesky.query.path_nodes import (
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
from intake_bluesky.query.paths import Path
from intake_bluesky.query.run_nodes import (
    Duplicates,
    Node,
    PartialUID,
    ScanID,
    ScanIDRange,
    TimeRange,
    documents_needed,
    settle_scan_ids,
)
from intake_bluesky.query.split import cheap_first, split, to_nnf
from intake_bluesky.query.values import FrozenDict, Value
from intake_bluesky.query.words import FullText, Fuzzy, similarity, trigrams, words

if TYPE_CHECKING:
    from intake_bluesky.query.mongo_form import from_mongo
    from intake_bluesky.query.text_form.text_form import from_text, to_text

__all__ = [
    "ALL",
    "And",
    "AnyDescriptor",
    "AnyItem",
    "Compare",
    "CompareStatistic",
    "Comparison",
    "Config",
    "Contains",
    "Data",
    "DataBetween",
    "DataKey",
    "DataQuery",
    "DataWithin",
    "Descriptor",
    "DescriptorField",
    "Device",
    "Duplicates",
    "Eq",
    "Everything",
    "Exists",
    "Field",
    "FrozenDict",
    "FullText",
    "Fuzzy",
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
    "RunEnds",
    "RunView",
    "ScanID",
    "ScanIDRange",
    "Start",
    "Statistic",
    "StatisticName",
    "Stop",
    "Stream",
    "TextQuery",
    "TimeRange",
    "Value",
    "all_of",
    "any_of",
    "cheap_first",
    "documents_needed",
    "from_json",
    "from_mongo",
    "from_text",
    "leaves",
    "matches",
    "replace_leaves",
    "settle_scan_ids",
    "similarity",
    "split",
    "to_json",
    "to_nnf",
    "to_text",
    "trigrams",
    "words",
]

# Parsers of texts and dicts, which most searches do without.
_TEXT_FORM = "intake_bluesky.query.text_form.text_form"
__getattr__ = late_names(
    __name__,
    {"from_mongo": "intake_bluesky.query.mongo_form", "from_text": _TEXT_FORM, "to_text": _TEXT_FORM},
)
