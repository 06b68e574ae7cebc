"""The metrics and labels that PromQL expressions name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

_VARIABLE = re.compile(r"\$\{?\w+\}?")
_SUFFIX = re.compile(r"_(bucket|sum|count|total)$")


@dataclass(frozen=True)
class Use:
    metric: str
    labels: frozenset[str]
    """Labels that the selector matches on."""


def uses(expression: str) -> list[Use]:
    """Every selector of the expression; raises ValueError where it is not PromQL."""
    return list(_selectors(promql_parser.parse(_VARIABLE.sub("x", expression))))


def base(metric: str) -> str:
    """The name under which a client registers what is exported as a counter or histogram."""
    return _SUFFIX.sub("", metric)


def _selectors(node: Any) -> Iterator[Use]:
    match node:
        case promql_parser.VectorSelector():
            yield Use(str(node.name), frozenset(matcher.name for matcher in node.matchers.matchers))
        case promql_parser.MatrixSelector():
            yield from _selectors(node.vector_selector)
        case promql_parser.BinaryExpr():
            yield from _selectors(node.lhs)
            yield from _selectors(node.rhs)
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors(argument)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _selectors(node.expr)
        case promql_parser.SubqueryExpr():
            yield from _selectors(node.expr)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return
        case _:
            raise AssertionError(f"an expression of an unknown kind: {node}")
