"""Templates in YAML files from elsewhere: names and simple expressions, which run nothing and stay small."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from intake_bluesky.errors import StoreUnavailable, UntrustedName

__all__ = ["render"]

KEPT: Final = ("env", "client_env", "shell", "client_shell")
"""Intake's functions, which stay as they are written."""
METHODS: Final = frozenset({"strftime", "isoformat", "lower", "upper", "strip", "lstrip", "rstrip"})
FILTERS: Final = frozenset(
    {
        "abs",
        "capitalize",
        "d",
        "default",
        "first",
        "float",
        "int",
        "last",
        "length",
        "lower",
        "round",
        "string",
        "title",
    }
    | {"trim", "upper"}
)
PLAIN: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.If,
    nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Keyword, nodes.Neg,
    nodes.Pos, nodes.Add, nodes.Sub, nodes.Concat, nodes.Mod, nodes.Slice,
)  # fmt: skip
"""What a template may be made of: nothing that repeats, multiplies, defines or includes."""
WIDE: Final = re.compile(r"%[^a-zA-Z%]*(?:\d{4}|\*)")
MOST: Final = 100_000
"""Values in the arguments of one source: aliases of YAML make many of few."""


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, str) and WIDE.search(left):
            raise UntrustedName(f"it pads a value with {left!r}")
        return super().call_binop(context, operator, left, right)


def render(value: Any, context: Mapping[str, Any], *, getenv: bool = False) -> Any:
    """The arguments of a source, with templates filled in from the context alone.

    With `getenv`, ``env(...)`` is filled in from the environment, too, which the user asked for.

    Raises
    ------
    UntrustedName
        Where a template is more than names, comparisons and simple expressions.
    StoreUnavailable
        Where it is no template, or names what is not in the context.

    Examples
    --------
    >>> render({"paths": "{{ CATALOG_DIR }}/{{ '%04d' % year }}"}, {"CATALOG_DIR": "s3://runs", "year": 2026})
    {'paths': 's3://runs/2026'}
    >>> render("{{ env(HOME) }}", {})
    '{{env(HOME)}}'
    """
    environment = _Sandbox(undefined=_Lacking)
    environment.globals.clear()
    environment.globals.update({name: _kept(name) for name in KEPT})
    if getenv:
        environment.globals["env"] = lambda name, default="": os.environ.get(_named(name), _named(default))
    return _Renderer(environment, context).rendered(value)


class _Renderer:
    def __init__(self, environment: _Sandbox, context: Mapping[str, Any]) -> None:
        self._environment, self._context, self._count = environment, context, 0

    def rendered(self, value: Any) -> Any:
        self._count += 1
        if self._count > MOST:
            raise UntrustedName(f"a catalog from elsewhere gives a source more than {MOST} values: it is not opened")
        if isinstance(value, dict):
            return {key: self.rendered(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set)):
            return type(value)(self.rendered(item) for item in value)
        return self._text(value) if isinstance(value, str) and "{" in value else value

    def _text(self, text: str) -> str:
        # Neither the template nor jinja's message is shown: both may hold a password.
        try:
            _check(self._environment.parse(text))
            return self._environment.from_string(text).render(self._context)
        except (UntrustedName, SecurityError) as error:
            raise UntrustedName(
                f"a template of a catalog from elsewhere is not filled in: {error}. Copy the YAML here, or open it "
                "with open_catalog(..., trust=True), if you trust its authors"
            ) from None
        except StoreUnavailable:
            raise
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise StoreUnavailable(
                f"a template of a catalog from elsewhere cannot be filled in: {type(error).__name__}"
            ) from None


class _Lacking(Undefined):
    """A name that is not known."""

    def __str__(self) -> str:
        raise StoreUnavailable(
            f"a template of a catalog from elsewhere needs {self._undefined_name!r}, which is neither CATALOG_DIR nor "
            "a parameter that it declares"
        )


def _kept(function: str) -> Any:
    def as_written(name: Any = "", *_: Any) -> str:
        return f"{{{{{function}({_named(name)})}}}}"

    return as_written


def _named(value: Any) -> str:
    """An argument of Intake's functions, which may be written without quotes."""
    return str(value._undefined_name if isinstance(value, Undefined) else value)


def _check(node: nodes.Node) -> None:
    if isinstance(node, nodes.Call):
        if not _is_harmless(node):
            raise UntrustedName("it calls a function")
    elif isinstance(node, nodes.Filter):
        if node.name not in FILTERS:
            raise UntrustedName(f"it uses the filter {node.name!r}")
    elif not isinstance(node, PLAIN):
        raise UntrustedName(f"it has a {type(node).__name__.lower()}, and may have names and simple expressions")
    elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        raise UntrustedName(f"it asks for {node.attr!r}")
    for child in node.iter_child_nodes():
        _check(child)


def _is_harmless(call: nodes.Call) -> bool:
    function = call.node
    if isinstance(function, nodes.Name):
        return function.name in KEPT
    return isinstance(function, nodes.Getattr) and function.attr in METHODS
