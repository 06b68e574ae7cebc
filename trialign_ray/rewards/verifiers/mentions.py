"""Where a text names answers of a closed set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from trialign_ray.rewards.text import ARTICLES, Scan, scan, without_articles


@dataclass(frozen=True, slots=True)
class Mention:
    """Words `start` to `end` of a scan name an answer."""

    name: str
    start: int
    end: int


@dataclass(slots=True)
class _Node:
    after: dict[str, _Node] = field(default_factory=dict)
    name: str | None = None


class Names:
    """Finds names word by word in a trie: time is linear in the text, whatever the number of names."""

    def __init__(self, forms: Mapping[str, str]) -> None:
        """`forms`: each way of writing a name -> the name. Of two names for one form, the first stays."""
        self._root = _Node()
        for form, name in forms.items():
            written = scan(form).words
            self._add(without_articles(written), name)
            # 'Vitamin A complex' has an article only in name.
            self._add(written[1:] if len(written) > 1 and written[0] in ARTICLES else written, name)

    def _add(self, words: Iterable[str], name: str) -> None:
        node = self._root
        for word in words:
            node = node.after.setdefault(word, _Node())
        if node is not self._root and node.name is None:
            node.name = name

    def find(self, text: Scan, blocked: Set[int] = frozenset()) -> list[Mention]:
        """All mentions in order, the longest where several begin; none has a word in `blocked`."""
        found, at = [], 0
        while at < len(text.words):
            mention = self._at(text, at, blocked) if text.words[at] in self._root.after else None
            if mention:
                found.append(mention)
            at = mention.end if mention else at + 1
        return found

    def _at(self, text: Scan, start: int, blocked: Set[int]) -> Mention | None:
        node, found, at = self._root, None, start
        while at < len(text.words) and at not in blocked:
            word = text.words[at]
            after = node.after.get(word)
            if after is None and (word not in ARTICLES or at == start):
                break
            node, at = after or node, at + 1
            if after is not None and node.name is not None and not _is_article(text, start, at):
                found = Mention(node.name, start, at)
        return found


def _is_article(text: Scan, start: int, end: int) -> bool:
    """Whether the words are a mere article: 'a person', unlike 'type A.'"""
    alone = end - start == 1 and text.words[start] in ARTICLES
    return alone and end < len(text.words) and not text.marks[end]
