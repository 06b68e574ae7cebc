"""What every pod of the manifests promises: least privilege, bounds, pins and probes."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from tests.unit.deploy.manifests import KUBERAY, Manifest, everything, named, pods, read, templates
from trialign_api.settings import Settings

PODS = pytest.mark.parametrize("template", [t for _, t in pods()], ids=[w for w, _ in pods()])


@PODS
def test_runs_without_privileges(template: Manifest):
    pod = template["spec"]["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] >= 1000
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in template["spec"]["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@PODS
def test_holds_no_credentials_of_kubernetes(template: Manifest):
    assert template["spec"]["automountServiceAccountToken"] is False
    account = named("ServiceAccount", template["spec"]["serviceAccountName"])
    assert account["automountServiceAccountToken"] is False
    assert not [where for where, m in everything() if m["kind"].endswith("RoleBinding")]


@PODS
def test_is_bounded_and_watched(template: Manifest):
    for container in template["spec"]["containers"]:
        assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["requests"])
        assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["limits"])
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


@PODS
def test_writes_to_volumes_alone(template: Manifest):
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    for container in template["spec"]["containers"]:
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert "emptyDir" in volumes[mounts["/tmp"]]
        claim = volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"]
        assert named("PersistentVolumeClaim", claim)["spec"]["accessModes"] == ["ReadWriteMany"]


@PODS
def test_image_is_pinned_to_this_release(template: Manifest):
    for container in template["spec"]["containers"]:
        pinned = re.fullmatch(r"[\w./-]+:(\d+\.\d+\.\d+)(-cuda)?", container["image"])
        assert pinned
        assert pinned[1] == version("trialign-ray")


@PODS
def test_no_secret_is_written_out(template: Manifest):
    for container in template["spec"]["containers"]:
        for variable in container["env"]:
            secret = re.search("TOKEN$|PASSWORD|DATABASE|SECRET", variable["name"])
            assert not secret or "secretKeyRef" in variable["valueFrom"]


def test_the_service_knows_every_variable_that_it_is_given():
    (template,) = templates(named("Deployment", "trialign-api"))
    given = {variable["name"] for variable in template["spec"]["containers"][0]["env"]}
    known = {f"TRIALIGN_{field.upper()}" for field in Settings.model_fields}
    assert {name for name in given if name.startswith("TRIALIGN_")} <= known


@pytest.mark.parametrize("file", ["raycluster.yaml", "raycluster-gpu.yaml"])
def test_ray_asks_for_the_token_that_the_control_plane_has(file: str):
    (ray,) = read(KUBERAY / file)
    (api,) = templates(named("Deployment", "trialign-api"))
    environment = {variable["name"]: variable.get("value") for variable in api["spec"]["containers"][0]["env"]}
    secrets = {v["name"]: v["secret"]["secretName"] for v in api["spec"]["volumes"] if "secret" in v}
    assert ray["spec"]["authOptions"] == {"mode": "token", "secretName": secrets["ray-token"]}
    assert environment["RAY_AUTH_MODE"] == "token"
    mount = next(m for m in api["spec"]["containers"][0]["volumeMounts"] if m["name"] == "ray-token")
    assert environment["RAY_AUTH_TOKEN_PATH"] == f"{mount['mountPath']}/auth_token"


@pytest.mark.parametrize("file", ["raycluster.yaml", "raycluster-gpu.yaml"])
def test_ray_is_the_installed_one_and_where_the_control_plane_looks(file: str):
    (ray,) = read(KUBERAY / file)
    (api,) = templates(named("Deployment", "trialign-api"))
    assert ray["spec"]["rayVersion"] == version("ray")
    head_service = f"{ray['metadata']['name']}-head-svc"  # as KubeRay names it
    assert f"--address=http://{head_service}:8265" in api["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("file", ["raycluster.yaml", "raycluster-gpu.yaml"])
def test_the_head_has_no_cpu_for_jobs_and_the_workers_have(file: str):
    (ray,) = read(KUBERAY / file)
    assert ray["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert all("num-cpus" not in group["rayStartParams"] for group in ray["spec"]["workerGroupSpecs"])


def test_owners_share_models_and_nothing_that_jobs_write():
    (api,) = templates(named("Deployment", "trialign-api"))
    env = {variable["name"]: variable.get("value") for variable in api["spec"]["containers"][0]["env"]}
    settings = Settings.from_env({name: value for name, value in env.items() if value is not None})
    assert settings.private_workspaces
    assert "/data/models" in settings.roots
    closed = (settings.workspace, str(settings.data))
    assert not [(root, place) for root in settings.roots for place in closed if f"{place}/".startswith(f"{root}/")]


def test_a_stopped_job_has_its_time_before_the_pod_goes():
    for _, manifest in everything():
        for template in templates(manifest) if manifest["kind"] == "RayCluster" else ():
            environment = {v["name"]: v.get("value") for v in template["spec"]["containers"][0]["env"]}
            seconds = int(environment["RAY_JOB_STOP_WAIT_TIME_S"] or 0)
            assert seconds == Settings().stop_seconds
            assert template["spec"]["terminationGracePeriodSeconds"] > seconds


def test_gpu_cluster_differs_in_nothing_but_the_gpu():
    (cpu,), (gpu,) = read(KUBERAY / "raycluster.yaml"), read(KUBERAY / "raycluster-gpu.yaml")
    (workers,) = gpu["spec"]["workerGroupSpecs"]
    pod = workers["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod.pop("tolerations") == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    workers["groupName"] = "cpu"
    for template in (*templates(cpu), *templates(gpu)):
        container = template["spec"]["containers"][0]
        container["image"] = container["image"].removesuffix("-cuda")
        container["resources"] = {}
    assert cpu == gpu
