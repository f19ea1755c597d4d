"""The composition, the tunnel and the watching: read by the real tools where there are any, by rules where not."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voice_gateway.config import Settings
from voice_gateway.ops.metrics import Metrics

Yaml = dict[str, Any]

YAML_FILES = ["docker-compose.yml", "cloudflared/config.yml", "deploy/prometheus.yml", "deploy/alerts.yml"]
YAML_RULES = "{extends: default, rules: {line-length: {max: 120}}}"


# --- the composition ---


def test_compose_itself_accepts_the_file(tool: Callable[..., Any]):
    done = tool("docker-compose", "--file", "docker-compose.yml", "config", "--quiet")
    assert done.returncode == 0, done.stderr


def test_the_schema_of_compose_files_is_kept(tool: Callable[..., Any]):
    done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    assert done.returncode == 0, done.stdout


def test_the_tools_would_have_found_a_mistake(tool: Callable[..., Any], repository: Path, tmp_path: Path):
    text = (repository / "docker-compose.yml").read_text(encoding="utf-8")
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text.replace("service_healthy", "service_happy"), encoding="utf-8")
    done = tool("docker-compose", "--file", str(broken), "config", "--quiet")
    assert done.returncode != 0
    assert "condition" in done.stderr


@pytest.mark.parametrize("path", YAML_FILES)
def test_yaml_is_tidy(tool: Callable[..., Any], path: str):
    done = tool("yamllint", "--strict", "--config-data", YAML_RULES, path)
    assert done.returncode == 0, done.stdout


def test_the_three_services_are_there_and_each_is_checked(compose: Yaml):
    assert set(compose["services"]) == {"gateway", "cloudflared", "prometheus"}
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD", f"{name}: no shell is to be had in every image"
        assert service["restart"] == "unless-stopped"


def test_no_service_may_gain_rights(compose: Yaml):
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")
        assert service.get("user") != "root"


def test_images_are_pinned(compose: Yaml):
    for name in ("cloudflared", "prometheus"):
        assert re.search(r":v?\d+\.\d+\.\d+$", compose["services"][name]["image"])


def test_ports_are_open_to_this_machine_alone(compose: Yaml):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_container_outlives_its_calls(compose: Yaml, tunnel: Yaml):
    drain = Settings.model_fields["drain_seconds"].default
    grace = int(compose["services"]["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace >= drain + 30, "after the last call: questions, answers, shipping, each with a limit of its own"
    assert int(tunnel["grace-period"].removesuffix("s")) >= drain


def test_the_record_of_calls_is_on_a_volume(compose: Yaml):
    gateway = compose["services"]["gateway"]
    volume, target = gateway["volumes"][0].split(":")
    assert volume in compose["volumes"]
    store = Path("/app") / gateway["environment"]["STORE_PATH"]
    assert store.is_relative_to(target)
    assert gateway["read_only"] is True


def test_mounted_files_exist(compose: Yaml, repository: Path):
    mounts = [v.split(":")[0] for s in compose["services"].values() for v in s.get("volumes", ()) if v.startswith("./")]
    assert mounts
    for path in mounts:
        assert (repository / path).exists(), path


# --- the tunnel ---


def serve(tunnel: Yaml, host: str, path: str) -> str:
    """What the first fitting ingress rule says, as cloudflared reads them: host, then path as an unanchored regex."""
    for rule in tunnel["ingress"]:
        host_fits = "hostname" not in rule or rule["hostname"] == host
        path_fits = "path" not in rule or re.search(rule["path"], path)
        if host_fits and path_fits:
            return str(rule["service"])
    pytest.fail("no rule fits: cloudflared refuses such a file")


def test_the_last_rule_catches_everything(tunnel: Yaml):
    *_, last = tunnel["ingress"]
    assert last == {"service": "http_status:404"}


def test_webhooks_and_media_streams_reach_the_gateway(tunnel: Yaml, compose: Yaml):
    host = tunnel["ingress"][0]["hostname"]
    inside = f"http://gateway:{compose['services']['gateway']['environment']['PORT']}"
    for path in ("/ws/twilio", "/twilio/answer", "/twilio/status", "/health", "/ready"):
        assert serve(tunnel, host, path) == inside, path


def test_metrics_and_other_hosts_are_not_published(tunnel: Yaml):
    host = tunnel["ingress"][0]["hostname"]
    assert serve(tunnel, host, "/metrics") == "http_status:404"
    assert serve(tunnel, "other.example.com", "/twilio/answer") == "http_status:404"


def test_the_tunnel_is_named_and_has_one_kind_of_credentials(tunnel: Yaml, compose: Yaml):
    assert uuid.UUID(tunnel["tunnel"])
    folder = compose["services"]["cloudflared"]["volumes"][0].split(":")[1]
    assert Path(tunnel["credentials-file"]).is_relative_to(folder)
    assert "TUNNEL_TOKEN" not in compose["services"]["cloudflared"].get("environment", {})
    assert "token" not in tunnel


def test_the_tunnels_own_check_asks_where_it_listens(tunnel: Yaml, compose: Yaml):
    check = compose["services"]["cloudflared"]["healthcheck"]["test"]
    assert check[check.index("--metrics") + 1].split(":")[1] == tunnel["metrics"].split(":")[1]


def test_every_rule_holds_only_what_cloudflared_knows(tunnel: Yaml):
    assert set(tunnel) <= {"tunnel", "credentials-file", "metrics", "no-autoupdate", "grace-period", "ingress"}
    for rule in tunnel["ingress"]:
        assert set(rule) <= {"hostname", "path", "service", "originRequest"}
        assert re.fullmatch(r"http://[a-z]+:\d+|http_status:\d{3}", rule["service"])
        assert set(rule.get("originRequest", {})) <= {"connectTimeout", "tcpKeepAlive", "keepAliveTimeout"}


# --- the watching ---


def test_prometheus_asks_the_services_there_are(scraping: Yaml, compose: Yaml, tunnel: Yaml):
    targets = {t for job in scraping["scrape_configs"] for c in job["static_configs"] for t in c["targets"]}
    assert f"gateway:{compose['services']['gateway']['environment']['PORT']}" in targets
    assert f"cloudflared:{tunnel['metrics'].split(':')[1]}" in targets
    assert scraping["rule_files"] == ["alerts.yml"]


def test_every_alert_asks_for_series_there_are(alerts: Yaml):
    metrics = Metrics(version="0.1.0")
    there = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    there |= {f"{f.name}_bucket" for f in metrics.registry.collect() if f.type == "histogram"}
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    for rule in rules:
        for name in re.findall(r"\bvoice_\w+", rule["expr"]):
            known = name in there or name.removesuffix("_total") in {f.name for f in metrics.registry.collect()}
            assert known, f"{rule['alert']}: {name}"


def test_every_alert_says_how_grave_it_is_and_what_it_means(alerts: Yaml):
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
