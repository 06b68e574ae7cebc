"""Dashboard and alerts speak of metrics that the code exports, and the alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.dashboard.modules.reporter import reporter_agent

from tests.unit.deploy.expressions import Use, base, uses
from tests.unit.deploy.manifests import KUBERAY, ROOT, read
from trialign_api.telemetry import Telemetry
from trialign_ray.objective.welfare.base import CLIP
from trialign_ray.trainer.metric_writers import GAUGES

DASHBOARD: dict[str, Any] = json.loads((ROOT / "cluster/grafana/trialign.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "cluster/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SHOWN = [use for panel in PANELS for target in panel["targets"] for use in uses(target["expr"])]
WATCHED = [use for rule in RULES for use in uses(rule["expr"])]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
TRAINING = {f"ray_{name}": set(tags) for name, (_, tags) in GAUGES.items()}
SERVICE = {metric.name: metric for metric in Telemetry.new().registry.collect()}


def test_the_dashboard_shows_exactly_the_training_metrics_that_the_code_registers():
    assert {use.metric for use in SHOWN if use.metric.startswith("ray_trialign_")} == set(TRAINING)


def test_the_dashboard_shows_every_metric_of_the_service():
    assert {base(use.metric) for use in SHOWN if use.metric.startswith("trialign_api_")} == set(SERVICE)


@pytest.mark.parametrize("use", [*SHOWN, *WATCHED], ids=lambda use: use.metric)
def test_every_metric_exists(use: Use):
    of_a_node = re.fullmatch(r"ray_(node_\w+)", use.metric)
    if of_a_node:
        assert f'"{of_a_node[1]}"' in Path(reporter_agent.__file__).read_text(encoding="utf-8")
    else:
        assert use.metric in {"up", *RECORDED, *TRAINING} or base(use.metric) in SERVICE


@pytest.mark.parametrize("use", [*SHOWN, *WATCHED], ids=lambda use: use.metric)
def test_selectors_match_on_labels_that_the_metric_has(use: Use):
    if use.metric in TRAINING:
        assert use.labels <= TRAINING[use.metric]
    if use.metric.startswith("trialign_api_"):
        assert use.labels <= {"method", "route", "status", "outcome"}


def test_panels_read_from_the_chosen_source_and_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {"${datasource}"}


def test_variables_come_from_training_metrics():
    queries = [
        variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"
    ]
    found = [re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", query) for query in queries]
    assert [match and match[2] for match in found] == ["run", "group"]
    assert all(match and match[2] in TRAINING[match[1]] for match in found)


def test_every_alert_says_what_it_means_and_how_bad_it_is():
    alerts = [rule for rule in RULES if "alert" in rule]
    assert len(alerts) >= 10
    for alert in alerts:
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= set(alert["annotations"])


def test_the_alert_on_the_weight_is_just_below_its_bound():
    (rule,) = [rule for rule in RULES if rule.get("alert") == "TrialignWeightAtBound"]
    threshold = float(rule["expr"].rsplit(">=", 1)[1])
    assert 0.95 * CLIP[1] <= threshold < CLIP[1]


def test_prometheus_looks_where_compose_and_kubernetes_put_things():
    config = yaml.safe_load((ROOT / "cluster/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    found = {
        name: source["port"]
        for job in config["scrape_configs"]
        for source in job.get("dns_sd_configs", [])
        for name in source["names"]
    }
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
    aliases = {
        alias
        for service in compose["services"].values()
        if isinstance(service["networks"], dict)
        for network in service["networks"].values()
        for alias in network.get("aliases", [])
    }
    assert set(found) == aliases
    services = {m["metadata"]["name"]: m["spec"]["ports"][0]["port"] for m in read(KUBERAY / "monitoring.yaml")[:2]}
    assert services == {
        "trialign-ray-metrics": found["trialign-ray-metrics"],
        "trialign-api-metrics": found["trialign-api"],
    }


def test_alerts_fire_when_they_should_and_only_then():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (of Prometheus) is not on PATH")
    here = Path(__file__).parent
    done = subprocess.run([promtool, "test", "rules", "alerts_test.yml"], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (of Prometheus) is not on PATH")
    file = ROOT / "cluster/prometheus/prometheus.yml"
    done = subprocess.run([promtool, "check", "config", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
