"""Every `trialign` command that a page shows is one that the program takes; the quick ones are run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from trialign_ray.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "demo/README.md", *ROOT.glob("docs/*.md")])
SHELL = {"", "sh", "bash"}
STANDS_FOR = {"QUESTIONS": "demo/questions.json", "GROUPS": "demo/groups.yaml", "NAME": "name", "LOGS": "demo/logs"}
QUICK = {
    "trialign bench list",
    "trialign bench make default --output questions.json",
    "trialign logs show demo/logs",
    "trialign questions --prompts requests.jsonl --model NAME --questions QUESTIONS --groups GROUPS",
    "trialign schema",
    "trialign schema groups",
    "trialign schema questions",
}


def _blocks(page: Path) -> Iterator[list[str]]:
    """The words of each command in a shell block; options that may be left out are in."""
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "code_block" or (token.type == "fence" and token.info in SHELL):
            for line in token.content.replace("\\\n", " ").splitlines():
                if shown := re.search(r"(?:^|\s--\s|\sapi\s)(trialign .*)", line):
                    yield _words(shown[1])


def _mentions(page: Path) -> Iterator[list[str]]:
    """Those in the text, which may name an option without its value."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "code_inline" and child.content.startswith("trialign "):
                yield _words(child.content)


def _words(command: str) -> list[str]:
    return [word for word in shlex.split(re.sub(r"[\[\]]", "", command), comments=True) if word != "..."]


def _found(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` lead to, and what is left for it."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def _shown(form: Any) -> list[Any]:
    return [pytest.param(words, id=f"{page.stem}:{shlex.join(words)}") for page in PAGES for words in form(page)]


@pytest.mark.parametrize("words", _shown(_blocks))
def test_a_command_that_a_page_shows_is_whole(words: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRIALIGN_KEY", "a key")
    command, rest = _found(words)
    assert not hasattr(command, "commands"), f"{rest[:1]} is no command"
    command.make_context(words[-1], rest)


@pytest.mark.parametrize("words", _shown(_mentions))
def test_a_command_that_a_page_mentions_has_the_options_that_it_names(words: list[str]):
    command, rest = _found(words)
    assert not hasattr(command, "commands") or not rest, f"{rest[:1]} is no command"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


def test_the_quick_commands_of_the_pages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = {shlex.join(words) for page in PAGES for form in (_blocks, _mentions) for words in form(page)}
    assert shown >= QUICK
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    for command in sorted(QUICK):
        words = [STANDS_FOR.get(word, word) for word in command.split()[1:]]
        done = CliRunner().invoke(app, words)
        assert (command, done.exit_code) == (command, 0), done.output
    assert json.loads((tmp_path / "requests.jsonl").open().readline())["body"]["model"] == "name"


def test_the_targets_of_make_that_pages_name_are_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make (?:\w+=\S+ )*([a-z]+)", text, re.MULTILINE))
    assert named - targets == set()
