"""The OpenAPI document: every specification's schema in it, and examples that a newcomer can send as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from trialign_api.kinds import ServedKind
from trialign_api.schemas import Problem
from trialign_ray.config.endpoint import KEY_ENV, EndpointSpec

COMMITTED = Path(__file__).with_name("openapi.json")
"""The copy in the repository; `trialign openapi --write` replaces it."""
_REF = "#/components/schemas/{model}"
_EXAMPLES: dict[str, dict[str, Any]] = {
    "train": {
        "summary": "Train on logs",
        "value": {
            "spec": {"kind": "train", "name": "demo", "model": "models/smollm2-135m", "logs": "logs/demo", "epochs": 1},
            "labels": {"team": "assistants"},
            "retries": 2,
        },
    },
    "audit": {
        "summary": "Audit a model",
        "value": {
            "spec": {
                "kind": "audit",
                "name": "baseline",
                "model": "models/smollm2-135m",
                "questions": "demo/questions.json",
                "groups": "demo/groups.yaml",
                "fail_if": ["contradiction.low>0.1", "gap.low>0.05"],
            }
        },
    },
    "collect": {
        "summary": "Collect logs",
        "value": {
            "spec": {
                "kind": "collect",
                "name": "logs",
                "model": "models/smollm2-135m",
                "questions": "demo/questions.json",
                "groups": "demo/groups.yaml",
                "output": "logs/new",
            }
        },
    },
}


def install(app: FastAPI, kinds: Mapping[str, ServedKind]) -> None:
    """Make `app.openapi()` the whole document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build(app, kinds)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def build(app: FastAPI, kinds: Mapping[str, ServedKind]) -> dict[str, Any]:
    """The document of the routes of `app` and the specifications of `kinds`."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas: dict[str, Any] = document["components"]["schemas"]
    schemas["Problem"] = _component(TypeAdapter(Problem).json_schema(ref_template=_REF), schemas)
    names = {}
    for name, kind in kinds.items():
        schemas[kind.spec.__name__] = _component(kind.spec.model_json_schema(ref_template=_REF), schemas)
        schemas[kind.spec.__name__].setdefault("required", []).append("kind")
        names[name] = f"#/components/schemas/{kind.spec.__name__}"
    union = {
        "oneOf": [{"$ref": ref} for ref in names.values()],
        "discriminator": {"propertyName": "kind", "mapping": names},
    }
    schemas["JobCreate"]["properties"]["spec"] = union
    schemas[EndpointSpec.__name__]["properties"]["key_env"] = {"enum": [KEY_ENV], "default": KEY_ENV, "type": "string"}
    for path in ("/v1/jobs", "/v1/jobs:validate"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        body["examples"] = {name: example for name, example in _EXAMPLES.items() if name in kinds}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    made: dict[str, Any] = _for_generators(_without_imports(document))
    return made


def _component(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema with its definitions moved to the document's."""
    schemas.update(schema.pop("$defs", {}))
    return schema


def _without_imports(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the specifications that name code by import path, which the service refuses."""
    schemas = document["components"]["schemas"]
    refused = {name for name, schema in schemas.items() if "import_path" in schema.get("properties", {})}
    for name in refused:
        del schemas[name]
    pruned: dict[str, Any] = _pruned(document, {_REF.format(model=name) for name in refused})
    return pruned


def _for_generators(value: Any) -> Any:
    """`value` so that generators of clients leave nothing out; what it allows is the same.

    They drop a specification with a default that is an object where its schema is a reference or a choice. And they
    take a choice beside fields, which here says how fields go together, for a choice of several specifications.
    """
    if isinstance(value, list):
        return [_for_generators(part) for part in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _for_generators(part) for name, part in value.items()}
    if isinstance(kept.get("default"), dict) and not {"$ref", "oneOf", "anyOf", "allOf"}.isdisjoint(kept):
        del kept["default"]
    if isinstance(kept.get("oneOf"), list) and "additionalProperties" in kept and isinstance(kept["properties"], dict):
        kept["allOf"] = [*kept.get("allOf", []), {"oneOf": kept.pop("oneOf")}]
    return kept


def _pruned(value: Any, refused: set[str]) -> Any:
    """`value` without references to `refused`, and without lists of nothing else."""

    def kept(part: Any) -> bool:
        if not isinstance(part, dict):
            return not (isinstance(part, str) and part in refused)
        return part.get("$ref") not in refused and (part.get("items") or {}).get("$ref") not in refused

    if isinstance(value, list):
        return [_pruned(part, refused) for part in value if kept(part)]
    if isinstance(value, dict):
        return {name: _pruned(part, refused) for name, part in value.items() if kept(part)}
    return value


def dump(document: dict[str, Any]) -> str:
    """As it is committed."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
