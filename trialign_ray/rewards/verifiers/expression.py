"""Mathematical expressions, compared by what they are worth (math-verify, on SymPy)."""

from __future__ import annotations

import logging
import re
from typing import Any

from trialign_ray.config.game import Question
from trialign_ray.rewards.verifiers.answer import UNEXTRACTED, Answer, named
from trialign_ray.rewards.verifiers.final import final_part
from trialign_ray.rewards.verifiers.number import NumberVerifier, is_number

_LONGEST = 300
"""A longer expression is no final answer, and could keep SymPy busy for ever."""
_HEAVY = re.compile(r"\^\s*\{?\s*-?\d{4}|\*\*\s*-?\d{4}|(?:\^|\*\*)[^+\-*/=,]{0,20}(?:\^|\*\*)|\d{30}|!")
"""Powers and factorials too large to be computed."""
_DOLLARS = re.compile(r"\$+([^$]+)\$+|\\[(\[](.+?)\\[)\]]", re.DOTALL)
_STATED = re.compile(r"(?:\banswer(?:\s+is)?\b|\bis\b|\bequals\b)\s*:?\s*([^\n]+)$", re.IGNORECASE)
_WORD = re.compile(r"(?<!\\)(?<![^\W\d_])[^\W\d_]{2,}")
_FUNCTIONS = frozenset("sin cos tan cot sec csc log ln lg exp sqrt pi abs min max".split())


class ExpressionVerifier:
    """Reads the last expression of a response; equal expressions have one name, that of the first reference."""

    def __init__(self, question: Question) -> None:
        parsed = [expression for reference in question.references if (expression := _parsed(reference)) is not None]
        self._right = parsed
        self._name = _name(parsed[0]) if parsed else ""
        self._number = NumberVerifier(question) if all(map(is_number, question.references)) else None
        self.accepted = frozenset([self._name] if parsed else ())

    def read(self, response: str) -> Answer:
        r"""What is in the last \boxed{}, else between the last dollars, else what is stated."""
        written = _written(response)
        if self._number is not None and is_number(written) and self._number.agrees(written):
            return named(self._name)
        expression = _parsed(written)
        if expression is None:
            return UNEXTRACTED
        return named(self._name if self._equals_reference(expression) else _name(expression))

    def _equals_reference(self, expression: Any) -> bool:
        from math_verify import verify

        return any(verify(right, expression, timeout_seconds=None) for right in self._right)


def _written(response: str) -> str:
    final = final_part(response)
    if final is not None:
        return final.strip()
    tail = response[-4 * _LONGEST :]
    dollars = _DOLLARS.findall(tail)
    if dollars:
        return next(filter(None, dollars[-1]), "").strip()
    stated = _STATED.search(tail.rstrip())
    bare = (stated[1] if stated else tail).strip().rstrip(".")
    return bare if set(_WORD.findall(bare)) <= _FUNCTIONS else ""


def _parsed(written: str) -> Any:
    """A SymPy object, or None where the text is no expression that can be computed."""
    text = written.strip().strip("$")
    if not text or len(text) > _LONGEST or _HEAVY.search(text):
        return None
    from math_verify import parse  # SymPy takes seconds to import, and few question sets need it

    for module in ("parser", "grader"):
        # Both warn at every call that there is no time limit: signals work in no thread but the main one.
        logging.getLogger(f"math_verify.{module}").setLevel(logging.ERROR)
    found = parse(f"${text}$", parsing_timeout=None)
    return found[0] if found and not isinstance(found[0], str) else None


def _name(expression: Any) -> str:
    from sympy import Expr, Rational, expand, nsimplify

    if not isinstance(expression, Expr):
        return str(expression)
    exact = nsimplify(expression, rational=True) if expression.is_Float else expression
    return str(exact if isinstance(exact, Rational) else expand(exact))
