"""Who may talk to whom, by the rules that Kubernetes gives NetworkPolicies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.deploy.manifests import Manifest, everything, named, templates

POLICIES = [manifest for _, manifest in everything() if manifest["kind"] == "NetworkPolicy"]
HERE = {"kubernetes.io/metadata.name": "trialign"}


@dataclass(frozen=True)
class Pod:
    labels: Mapping[str, str]
    namespace: Mapping[str, str]


HEAD = Pod({"trialign-role": "ray", "ray.io/node-type": "head"}, HERE)
WORKER = Pod({"trialign-role": "ray", "ray.io/node-type": "worker"}, HERE)
API = Pod({"trialign-role": "api"}, HERE)
STRANGER = Pod({"app": "stranger"}, HERE)
INGRESS = Pod({"app": "nginx"}, {"kubernetes.io/metadata.name": "ingress-nginx", "trialign-access": "true"})
PROMETHEUS = Pod({"app": "prometheus"}, {"kubernetes.io/metadata.name": "monitoring"})
OPERATOR = Pod({"app.kubernetes.io/name": "kuberay-operator"}, {"kubernetes.io/metadata.name": "kuberay-system"})
DNS = Pod({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def is_peer(peer: Mapping[str, Any], pod: Pod) -> bool:
    namespace = peer.get("namespaceSelector", {"matchLabels": HERE})
    return matches(namespace, pod.namespace) and matches(peer.get("podSelector", {}), pod.labels)


def passes(side: str, mine: Pod, other: Pod, port: int) -> bool:
    """Whether the policies over `mine` let `other` through; all is open where no policy of the side selects it."""
    if mine.namespace != HERE:
        return True
    over = [
        policy["spec"]
        for policy in POLICIES
        if side.title() in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], mine.labels)
    ]
    end = {"ingress": "from", "egress": "to"}[side]
    rules: list[Manifest] = [rule for spec in over for rule in spec.get(side, [])]
    return not over or any(
        (end not in rule or any(is_peer(peer, other) for peer in rule[end]))
        and ("ports" not in rule or any(allowed["port"] == port for allowed in rule["ports"]))
        for rule in rules
    )


def reaches(source: Pod, target: Pod, port: int) -> bool:
    return passes("egress", source, target, port) and passes("ingress", target, source, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (API, HEAD, 8265),
        (HEAD, WORKER, 40123),
        (WORKER, HEAD, 6379),
        (INGRESS, API, 8000),
        (PROMETHEUS, HEAD, 8080),
        (PROMETHEUS, WORKER, 8080),
        (PROMETHEUS, API, 8000),
        (OPERATOR, HEAD, 8265),
        (API, DNS, 53),
        (WORKER, DNS, 53),
    ],
)
def test_what_the_platform_needs_is_open(source: Pod, target: Pod, port: int):
    assert reaches(source, target, port)


@pytest.mark.parametrize("port", [6379, 8265, 10001, 52365, 8080, 40123])
@pytest.mark.parametrize("source", [STRANGER, INGRESS])
def test_nobody_else_reaches_ray(source: Pod, port: int):
    assert not reaches(source, HEAD, port)
    assert not reaches(source, WORKER, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (API, HEAD, 6379),
        (API, HEAD, 10001),
        (PROMETHEUS, HEAD, 8265),
        (OPERATOR, WORKER, 52365),
        (WORKER, API, 8000),
        (STRANGER, API, 8000),
        (PROMETHEUS, API, 5432),
        (STRANGER, DNS, 53),
    ],
)
def test_what_nobody_needs_is_shut(source: Pod, target: Pod, port: int):
    assert not reaches(source, target, port)


def test_the_policies_select_the_pods_of_the_manifests():
    roles = {"api": named("Deployment", "trialign-api"), "ray": named("RayCluster", "trialign")}
    for role, manifest in roles.items():
        assert all(template["metadata"]["labels"]["trialign-role"] == role for template in templates(manifest))


def test_services_lead_to_the_pods():
    (api,) = templates(named("Deployment", "trialign-api"))
    for _, manifest in everything():
        if manifest["kind"] == "Service":
            labels = [api["metadata"]["labels"], *(pod.labels for pod in (HEAD, WORKER))]
            assert any(manifest["spec"]["selector"].items() <= some.items() for some in labels)
