"""Numbers in a text, in every way of writing them that is known here, with all that each of them can mean.

'1.500' is 1500 in one country and 1.5 in another. Nothing here guesses: a figure keeps both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from trialign_ray.rewards.text import INVISIBLE
from trialign_ray.rewards.verifiers.magnitudes import power_after

_LONGEST = 1000
"""A run of more digits is no number, and a power of ten is at most so large."""
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_SUPERSCRIPT = re.compile("(?<=10)[⁻⁺]?[⁰¹²³⁴-⁹]+")
_SEEN = re.compile(f"[{INVISIBLE}]")
_PLAIN = str.maketrans(
    dict.fromkeys(
        "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
    )
    | dict.fromkeys("−－﹣–‒‐‑", "-")
    | dict.fromkeys("’‘ʼʻ′`´٬＇", "'")
    | {"．": ".", "，": ",", "％": "%", "٪": "%", "⁄": "/", "∕": "/", "／": "/", "＋": "+", "：": ":", "＝": "="}
)
_LATEX = (
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), ","),
    (re.compile(r"\\[dtc]?frac\s*(?:\{\s*([-\d.,]+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))"), r" \1\2/\3\4"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit|mbox|operatorname)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"(?<=\d),?\\[,;: ](?=\d)"), " "),
    (re.compile(r"\\!"), ""),
    (re.compile(r"\\([%$#&_])"), r"\1"),
)
_BODY = r"\d+(?:[.,'_\u066b]\d+|[ ]\d{3}(?!\d))*|(?<![.\w])[.\u066b]\d+"
_NUMBER = re.compile(
    rf"(?<![^\W_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3])(?<!\d/)(?P<sign>[-+]?)(?P<body>{_BODY})"
    r"(?:[ ]?/[ ]?(?P<below>\d{1,18})(?![\d/])"
    r"|(?:[ ]|[ ]and[ ])(?P<over>\d{1,9})/(?P<under>\d{1,9})(?![\d/])"
    r"|\s*[x×*·⋅]\s*10\s*(?:\^|\*\*)\s*[{(]?\s*(?P<power>[-+]?\d{1,9})[})]?"
    r"|[eEеЕ](?P<exponent>[-+]?\d{1,9})(?![^\W_])"
    r"|\s?(?:\^|\*\*)\s?[{(]?(?P<raised>-?\d{1,3})(?!\d)[})]?)?"
)
_PERCENT = re.compile(
    r"\s?(?:%|\b(?:percent|per[ ]cent|pct|prozent|procent|pour[ ]cent|por[ ]ciento|p[eo]r[ ]cento|процент\w*)\b)",
    re.IGNORECASE,
)
_MINUS = re.compile(r"(?:^|[^\s\d])\s*\b(?:minus|negative|moins|menos|meno)\s$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NumberToken:
    """A number in a text, from `start` to `end`."""

    start: int
    end: int
    values: tuple[Fraction, ...]
    """What it can mean; the first is the reading of a decimal point."""
    others: tuple[Fraction, ...] = ()
    """What it means only where a reference says so: 0.5 for '50 %'."""
    unit: int = 1
    """The power of ten that is written as a word."""


def prepared(text: str) -> str:
    """`text` with ASCII digits and signs, and without the LaTeX around numbers."""
    if "\\" in text or "{,}" in text:
        for pattern, plain in _LATEX:
            text = pattern.sub(plain, text)
    if text.isascii():
        return text
    text = _SUPERSCRIPT.sub(lambda found: "^" + unicodedata.normalize("NFKC", found[0]), _SEEN.sub("", text))
    text = _VULGAR.sub(lambda found: " " + unicodedata.normalize("NFKC", found[0]), text)
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.digit(digit[0])), text.translate(_PLAIN))


def numbers(text: str) -> list[re.Match[str]]:
    """The numbers of a prepared text, not yet understood: that is done for few of them."""
    return list(_NUMBER.finditer(text))


def figure(text: str, found: Sequence[re.Match[str]], at: int) -> NumberToken | None:
    """What the number `found[at]` means, with those that continue it ('1 crore 50 lakh'); None where it is none."""
    whole = _single(text, found[at])
    while whole and at + 1 < len(found) and len(whole.values) == 1 and _continues(text, whole, found[at + 1]):
        part = _single(text, found[at + 1])
        if part is None or len(part.values) != 1 or not 0 < part.values[0] < whole.unit:
            break
        whole, at = replace(part, start=whole.start, values=(whole.values[0] + part.values[0],)), at + 1
    return whole


def _continues(text: str, whole: NumberToken, following: re.Match[str]) -> bool:
    return whole.unit > 1 and text[whole.end : following.start()] == " " and following["sign"] == ""


def _single(text: str, match: re.Match[str]) -> NumberToken | None:
    if len(match.group()) > _LONGEST:
        return None
    bodies = readings(match["body"]) or readings(re.split("[ ,'_.\u066b]", match["body"])[-1])
    values = [value for body in bodies if (value := _completed(body, match)) is not None]
    negative = match["sign"] == "-" or _MINUS.search(text, max(match.start() - 12, 0), match.start()) is not None
    return _scaled(text, match, [-value if negative else value for value in values]) if values else None


def _completed(body: Fraction, match: re.Match[str]) -> Fraction | None:
    """The number with the fraction or the power that follows it."""
    if match["below"] is not None:
        return body / int(match["below"]) if int(match["below"]) else None
    if match["over"] is not None:
        return body + Fraction(int(match["over"]), int(match["under"])) if int(match["under"]) else None
    if match["raised"] is not None:
        small = abs(body) <= _LONGEST and (body or int(match["raised"]) > 0)
        return body ** int(match["raised"]) if small else None
    power = int(match["power"] or match["exponent"] or 0)
    return body * Fraction(10) ** power if abs(power) <= _LONGEST else None


def _scaled(text: str, match: re.Match[str], values: list[Fraction]) -> NumberToken:
    """The number with the words for powers of ten, or the percent sign, that follow it."""
    end, unit, others = match.end(), 1, list[Fraction]()
    while (power := power_after(text, end)) is not None:
        others = [value * by for value in [*values, *others] for by in power.maybe | power.sure]
        values = [value * by for value in values for by in sorted(power.sure)]
        if power.sure == {1}:
            break
        end, unit = power.end, unit * min(power.sure)
    percent = _PERCENT.match(text, end)
    if percent or text[max(match.start() - 2, 0) : match.start()].strip().endswith("%"):
        others += [value / 100 for value in values]
    return NumberToken(
        match.start(), percent.end() if percent else end, tuple(dict.fromkeys(values)), tuple(others), unit
    )


def readings(body: str) -> list[Fraction]:
    """What digits with separators can mean, the reading of a decimal point first; none where they are no number."""
    groups, signs = re.split("[ ,'_.\u066b]", body), re.findall("[ ,'_.\u066b]", body)
    whole = [Fraction(int("".join(groups)))] if _grouped(groups, signs) else []
    decimal = []
    if signs and signs[-1] in ".,\u066b" and signs[-1] not in signs[:-1] and _grouped(groups[:-1] or ["0"], signs[:-1]):
        digits = "".join(groups[:-1]) or "0"
        decimal = [Fraction(int(digits + groups[-1]), 10 ** len(groups[-1]))]
    return decimal + whole if signs[-1:] == ["."] else whole + decimal


def _grouped(groups: list[str], signs: list[str]) -> bool:
    """Whether digits are one whole number in groups of three, or as in India of two and then three."""
    if not signs:
        return True
    lengths = [len(group) for group in groups]
    western = 1 <= lengths[0] <= 3 and set(lengths[1:]) == {3}
    indian = signs[0] == "," and 1 <= lengths[0] <= 2 and lengths[-1] == 3 and set(lengths[1:-1]) <= {2}
    return len(set(signs)) == 1 and signs[0] != "\u066b" and not groups[0].startswith("0") and (western or indian)


def plain(value: Fraction) -> str:
    """A number as its name: without exponent or needless zeros, as a fraction where it has no end."""
    below, twos, fives = value.denominator, 0, 0
    while below % 2 == 0:
        below, twos = below // 2, twos + 1
    while below % 5 == 0:
        below, fives = below // 5, fives + 1
    places = max(twos, fives)
    if below != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
