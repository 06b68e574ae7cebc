"""The Kubernetes manifests, read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
KUBERAY = ROOT / "cluster" / "kuberay"
CRDS = ROOT.parent / "shared" / "kuberay-crds"

Manifest = Mapping[str, Any]


def read(path: Path) -> list[Manifest]:
    """The documents of one file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def everything() -> list[tuple[str, Manifest]]:
    """Every manifest, with an id for the report of pytest."""
    return [
        (f"{path.stem}:{manifest['kind']}/{manifest['metadata']['name']}", manifest)
        for path in sorted(KUBERAY.glob("*.yaml"))
        for manifest in read(path)
    ]


def named(kind: str, name: str) -> Manifest:
    """The manifest of that kind and name."""
    return next(m for _, m in everything() if m["kind"] == kind and m["metadata"]["name"] == name)


def templates(manifest: Manifest) -> Iterator[Manifest]:
    """The pod templates of a Deployment or a RayCluster."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Deployment":
        yield spec["template"]
    if manifest["kind"] == "RayCluster":
        yield spec["headGroupSpec"]["template"]
        yield from (group["template"] for group in spec["workerGroupSpecs"])


def pods() -> list[tuple[str, Manifest]]:
    """Every pod template, with an id."""
    return [
        (f"{where}:{template['spec']['containers'][0]['name']}", template)
        for where, manifest in everything()
        for template in templates(manifest)
    ]
