"""The reference pages that are made from the code: commands, specifications, REST."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import typer
from jinja2 import Environment, FileSystemLoader

from trialign_api.openapi import COMMITTED
from trialign_ray.cli.app import app
from trialign_ray.config.compare import CompareSpec
from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.kinds import json_schema

_TEMPLATES = Environment(
    loader=FileSystemLoader(__file__.removesuffix("generated.py") + "templates"),
    autoescape=False,  # noqa: S701 - Markdown of our own, no page for a browser
    trim_blocks=True,
    lstrip_blocks=True,
)


def pages() -> dict[str, str]:
    """Path below docs/ of each page, and the JSON documents that the pages link, with their text."""
    schemas = {
        "jobs": json_schema(),
        "evaluate": EvaluateSpec.model_json_schema(),
        "compare": CompareSpec.model_json_schema(),
        "questions": QuestionSet.model_json_schema(),
        "groups": GroupSet.model_json_schema(),
    }
    openapi = COMMITTED.read_text(encoding="utf-8")
    document = json.loads(openapi)
    commands = list(_commands(typer.main.get_command(app), "trialign"))
    specifications = {name: list(_objects(name, schema)) for name, schema in schemas.items()}
    return {
        "reference/commands.md": _written("commands", commands=commands),
        "reference/specifications.md": _written("specifications", specifications=specifications),
        "reference/rest.md": _written("rest", paths=document["paths"], shape=_shape),
        "reference/openapi.json": openapi,
        **{f"reference/{name}.schema.json": json.dumps(schema, indent=2) for name, schema in schemas.items()},
    }


def _written(name: str, **values: object) -> str:
    return _TEMPLATES.get_template(f"{name}.md.j2").render(cell=_cell, **values)


def _cell(text: object) -> str:
    """As it stands in a cell of a table."""
    return " ".join(str("" if text is None else text).split()).replace("|", r"\|").replace("<", "&lt;")


def _commands(command: Any, name: str) -> Iterator[dict[str, Any]]:
    """Every command that does something, groups opened."""
    below = getattr(command, "commands", None)
    if below is None:
        parameters = [_parameter(each) for each in command.params]
        yield {"name": name, "help": inspect.cleandoc(command.help or ""), "parameters": parameters}
        return
    for child in sorted(below):
        yield from _commands(below[child], f"{name} {child}")


def _parameter(each: Any) -> dict[str, str]:
    """An argument or option: how it is written, its default, its variable, its help."""
    option = each.opts[0].startswith("-")
    default = each.default if isinstance(each.default, str | float) and each.default is not False else None
    return {
        "written": ", ".join(each.opts) if option else each.metavar or each.name.upper(),
        "default": "required" if each.required and option else f"`{default}`" if default is not None else "",
        "variable": f"`{each.envvar}`" if each.envvar else "",
        "help": each.help or "",
    }


def _objects(name: str, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each object of a schema: its name, its description, its fields."""
    for title, part in {name: schema, **schema.get("$defs", {})}.items():
        fields = [
            {"name": field, "shape": _shape(given), "required": field in part.get("required", ()), **given}
            for field, given in part.get("properties", {}).items()
        ]
        if fields:
            yield {"title": title, "description": part.get("description", ""), "fields": fields}


def _shape(schema: dict[str, Any]) -> str:
    """A schema in a few words, such as `list of string` or `integer, 1 to 64`."""
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_shape(choice) for choice in choices))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema or "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    return ", ".join(part for part in (str(kind), _range(schema)) if part)


def _range(schema: dict[str, Any]) -> str:
    words = (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"))
    return " ".join(f"{word} {schema[key]}" for key, word in words if key in schema)
