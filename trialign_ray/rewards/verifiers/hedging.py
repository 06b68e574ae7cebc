"""Which of the answers that a response mentions it gives: not one that it denies, and none where it gives two."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise

from trialign_ray.rewards.text import ARTICLES, Scan
from trialign_ray.rewards.verifiers.mentions import Mention

_NEGATORS = frozenset(
    "not isnt wasnt arent werent aint never neither nor except excluding unlike without cannot cant"
    " nicht kein keine keinen weder pas nunca jamais sauf ausser nao non не ни nie ikke inte niet geen".split()
)
_PLAIN_NEGATORS = frozenset({("not",), ("isnt",), ("wasnt",), ("neither",), ("nicht",)})
"""Those with which no title begins, unlike 'Never Let Me Go'."""
_PAIRED_NEGATORS = frozenset(
    {("anything", "but"), ("everything", "but"), ("anywhere", "but"), ("all", "but"), ("other", "than")}
    | {("rather", "than"), ("instead", "of"), ("apart", "from"), ("no", "es"), ("no", "fue"), ("no", "era")}
    | {("dont", "think"), ("not", "think"), ("dont", "believe"), ("not", "believe")}
)
_BY = frozenset("by von par por door".split())
"""Before who did it: 'not written by Homer'."""
_SKIPPED = (
    ARTICLES
    | frozenset(
        "in at on by called named really city town country river state be is was its it"
        " der die das den dem le la les l el los las lo il o os as um uma un une ein eine de du des da do dos"
        " es est ist e era fue war have been being".split()
    )
    | _BY
)
"""Words that may stand between 'not' and what it denies."""
_CLAUSE_ENDS = frozenset(".:,")
_DENIALS = (("is", "not"), ("was", "not"), ("are", "not"), ("isnt",), ("wasnt",), ("arent",))
_NOT_DONE = (("did", "not"), ("didnt",), ("does", "not"), ("doesnt",), ("do", "not"), ("dont",), ("never",))
_TOLD = frozenset({*_DENIALS, *_NOT_DONE})
"""Denials in the middle of a clause."""
_NEGATING = _NEGATORS | frozenset({"no", "dont", "didnt", "doesnt"})
"""In a question: what a response says is not so may then be its answer."""
_CLAUSE = 8
"""So many words after a verb may be what is denied."""
_ONLY = frozenset({"only", "just", "merely", "simply"})
_POINTING = frozenset({"it", "this", "that"})
_OTHERWISE = frozenset({"but", "sondern", "sino"})
_FALSE = frozenset({"wrong", "incorrect", "false"})
_TRUE = frozenset({"correct", "right", "true", "it", "one", "answer"})
OR = frozenset("or oder ou или eller atau veya या أو או или 或 nebo vagy lub sau albo".split())
_AND = frozenset("and und et y e и og och en & plus".split())
_MAYBE = frozenset("maybe perhaps possibly probably either even could might may also is it its be in".split())
_CORRECTIONS = {
    "no": (("no", "wait"), ("no", "actually")),
    "wait": (("wait", "no"),),
    "actually": (("actually", "no"),),
    "scratch": (("scratch", "that"),),
    "i": (("i", "mean"), ("i", "meant")),
    "my": (("my", "mistake"),),
    "let": (("let", "me", "correct"),),
    "correction": (("correction",),),
    "sorry": (("sorry",),),
}
"""First word -> phrases after which what was said before no longer counts."""
_ANSWER_WORDS = frozenset("answer antwort reponse respuesta resposta risposta ответ".split())
_VERBS = frozenset("is was has lies ist est es e".split())
_EQUALS = frozenset("is was would be ist est es e".split())


@dataclass(frozen=True, slots=True)
class Reading:
    """What the mentions come to: one name, or two names at once, or neither."""

    name: str | None = None
    ambiguous: bool = False
    stated: bool = False
    """Whether the response says that this is the answer, or corrects itself."""


def read_mentions(text: Scan, mentions: Sequence[Mention], asked: frozenset[str]) -> Reading:
    """The first answer that is not denied, after the last correction or 'the answer is'. `asked`: the question's words.

    It is ambiguous where another one is given beside it ('Paris or Lyon'), as an alternative or in a list.
    """
    given = not_denied(text, mentions, asked)
    if not given:
        return Reading()
    turn = max((at for at in _turns(text) if at <= given[-1].start), default=0)
    found = _first(text, given[bisect_left(given, turn, key=lambda mention: mention.start) :])
    return replace(found, stated=turn > 0)


def _first(text: Scan, given: Sequence[Mention]) -> Reading:
    first = given[0]
    for before, other in pairwise(given):
        if not _linked(text, before, other):
            break
        if other.name != first.name:
            return Reading(ambiguous=True)
    return Reading(first.name)


def _turns(text: Scan) -> list[int]:
    """Where a response corrects itself, or says that the answer follows."""
    found = []
    for at, word in enumerate(text.words):
        if word in _ANSWER_WORDS and _announces(text, at):
            found.append(at + 1)
        for phrase in _CORRECTIONS.get(word, ()):
            if text.words[at : at + len(phrase)] == phrase and _apart(text, at, len(phrase)):
                found.append(at + len(phrase))
    return found


def _announces(text: Scan, at: int) -> bool:
    following = text.words[at + 1] if at + 1 < len(text.words) else ""
    return text.marks[at + 1] == ":" or following in _EQUALS


def _apart(text: Scan, at: int, length: int) -> bool:
    """Whether a correction stands between signs: 'Lyon. Sorry, Paris', unlike 'I mean it'."""
    return text.marks[at] != "" and (length > 1 or text.marks[at + length] != "")


def not_denied(text: Scan, mentions: Sequence[Mention], asked: frozenset[str]) -> list[Mention]:
    """The mentions that are not denied, as 'not the Rhine' and 'The Rhine is wrong' are."""
    given: list[Mention] = []
    before: Mention | None = None
    denied = False
    for mention in mentions:
        # 'not Paris or Lyon' denies both.
        inherits = denied and before is not None and _offered(text, before, mention)
        denied = inherits or _denied_before(text, mention.start) or _denied_after(text, mention.end, asked)
        if not denied:
            given.append(mention)
        before = mention
    return given


def _denied_before(text: Scan, start: int) -> bool:
    at = _past_skipped(text, start - 1)
    if at >= 0 and text.marks[at + 1] == "" and text.words[at + 1] in _BY and text.words[at] not in _ONLY:
        at = _past_skipped(text, at - 1) if not _negates(text, at) else at  # past the verb of 'not written by Homer'
    return _negates(text, at)


def _past_skipped(text: Scan, at: int) -> int:
    while at >= 0 and text.marks[at + 1] == "" and text.words[at] in _SKIPPED and not _pair(text, at):
        at -= 1
    return at


def _negates(text: Scan, at: int) -> bool:
    return at >= 0 and text.marks[at + 1] == "" and (text.words[at] in _NEGATORS or _pair(text, at))


def _pair(text: Scan, at: int) -> bool:
    return text.words[max(at - 1, 0) : at + 1] in _PAIRED_NEGATORS


def _denied_after(text: Scan, end: int, asked: frozenset[str]) -> bool:
    """'The Rhine is not the answer', 'The Rhine is wrong'."""
    if text.marks[end] != "":
        return False
    clause = text.words[end : end + 5]
    if clause[:1] == ("is",) and clause[1:2] and clause[1] in _FALSE:
        return True
    for denial in _DENIALS:
        if clause[: len(denial)] == denial:
            rest = [word for word in clause[len(denial) :] if word not in ARTICLES]
            return not rest or rest[0] in _TRUE or rest[0] in asked
    return not asked & _NEGATING and _not_done(text, end, asked)


def _not_done(text: Scan, end: int, asked: frozenset[str]) -> bool:
    """'Homer did not write it', with what the question asks about or a word for it."""
    length = next((len(phrase) for phrase in _NOT_DONE if text.words[end : end + len(phrase)] == phrase), 0)
    if not length:
        return False
    rest = []
    for at in range(end + length, min(end + length + _CLAUSE, len(text.words))):
        if text.marks[at] != "":
            break
        rest.append(text.words[at])
    told = not rest or not (_POINTING | asked - _SKIPPED).isdisjoint(rest)
    return told and _ONLY.isdisjoint(rest[:1])


def denied_clauses(text: Scan) -> set[int]:
    """The words of clauses that deny something: 'not the Rhine', 'Homer did not write it'."""
    starts = [at for at in range(len(text.words)) if at == 0 or _begins_clause(text, at)]
    clauses = pairwise([*starts, len(text.words)])
    return {at for start, end in clauses if _denies(text, start, end) for at in range(start, end)}


def _begins_clause(text: Scan, at: int) -> bool:
    other = text.words[at - 1] in _OTHERWISE and not _pair(text, at - 1)
    return text.marks[at] in _CLAUSE_ENDS or other


def _denies(text: Scan, start: int, end: int) -> bool:
    told = any(
        text.words[at : min(at + 2, end)] in _TOLD or text.words[at : at + 1] in _TOLD for at in range(start, end)
    )
    return told or _opens_denial(text, start, end)


def _opens_denial(text: Scan, start: int, end: int) -> bool:
    while start < end and text.words[start] in _SKIPPED:
        start += 1
    return text.words[start : start + 1] in _PLAIN_NEGATORS or text.words[start : start + 2] in _PAIRED_NEGATORS


def beside_or(text: Scan, mentions: Sequence[Mention], ignored: Set[int]) -> bool:
    """Whether something that is no mention is given as an alternative to one: 'Homer or Virgil'."""
    named = {at for mention in mentions for at in range(mention.start, mention.end)}
    for mention in mentions:
        for at, step in ((mention.start - 1, -1), (mention.end, 1)):
            link = _past_articles(text, at, step)
            other = _past_articles(text, link + step, step)
            if 0 <= other < len(text.words) and text.words[link] in OR and not {link, other} & (ignored | named):
                return True
    return False


def _past_articles(text: Scan, at: int, step: int) -> int:
    while 0 <= at < len(text.words) and text.words[at] in ARTICLES:
        at += step
    return at


def _linked(text: Scan, before: Mention, after: Mention) -> bool:
    words, marks = _between(text, before, after)
    if _offered(text, before, after):
        return True
    if text.marks[after.end] == "" and text.words[after.end : after.end + 1] and text.words[after.end] in _VERBS:
        return False  # 'It is Paris, and Lyon is the next' begins another clause
    listed = not words and (marks <= {",", "/", "&"} and marks != set())
    both = len(words) == 1 and words[0] in _AND and "." not in marks
    unsure = bool(words) and words[0] in {"maybe", "perhaps", "possibly"} and set(words) <= _MAYBE
    return listed or both or unsure


def _offered(text: Scan, before: Mention, after: Mention) -> bool:
    words, marks = _between(text, before, after)
    offered = any(word in OR for word in words) and set(words) <= OR | _MAYBE
    return "." not in marks and (offered or words == ["o"] or words == ["nor"] or (not words and marks == {"/"}))


def _between(text: Scan, before: Mention, after: Mention) -> tuple[list[str], set[str]]:
    words = [word for word in text.words[before.end : after.start] if word not in ARTICLES]
    return words, {mark for mark in text.marks[before.end : after.start + 1] if mark}
