"""Every manifest is what Kubernetes and KubeRay accept, unknown fields refused."""

from __future__ import annotations

from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.unit.deploy.manifests import CRDS, KUBERAY, Manifest, everything, pods

KUBERNETES = "1.37"
RAY = [(where, manifest) for where, manifest in everything() if manifest["apiVersion"] == "ray.io/v1"]
CORE = [(where, manifest) for where, manifest in everything() if manifest["apiVersion"] != "ray.io/v1"]


def crd_schema(kind: str) -> dict[str, Any]:
    path = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not path.exists():
        pytest.skip("the custom resource definitions of KubeRay are not beside this repository")
    versions = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema = next(v["schema"]["openAPIV3Schema"] for v in versions["spec"]["versions"] if v["name"] == "v1")
    strict: dict[str, Any] = closed(schema)
    return strict


def closed(schema: Any) -> Any:
    """The schema with unknown fields refused, as the API server does under strict field validation."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


def test_all_kinds_are_there():
    kinds = {manifest["kind"] for _, manifest in everything()}
    assert {"RayCluster", "RayJob", "Deployment", "Service", "NetworkPolicy", "PersistentVolumeClaim"} <= kinds
    assert len(list(KUBERAY.glob("*.yaml"))) >= 5


@pytest.mark.parametrize("manifest", [m for _, m in RAY], ids=[w for w, _ in RAY])
def test_kuberay_accepts(manifest: Manifest):
    jsonschema.Draft202012Validator(crd_schema(manifest["kind"])).validate(manifest)


@pytest.mark.parametrize("manifest", [m for _, m in CORE], ids=[w for w, _ in CORE])
def test_kubernetes_accepts(manifest: Manifest):
    assert kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("template", [t for _, t in pods()], ids=[w for w, _ in pods()])
def test_kubernetes_accepts_the_pods_of_ray_too(template: Manifest):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", **template["metadata"]}}
    assert kubernetes_validate.validate({**pod, "spec": template["spec"]}, KUBERNETES, strict=True)


def test_a_misspelt_field_is_refused():
    _, manifest = next((where, m) for where, m in RAY if m["kind"] == "RayCluster")
    wrong = {**manifest, "spec": {**manifest["spec"], "authOption": {"mode": "token"}}}
    with pytest.raises(jsonschema.ValidationError, match="authOption"):
        jsonschema.Draft202012Validator(crd_schema("RayCluster")).validate(wrong)
