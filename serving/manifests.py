"""A rollout as Kubernetes objects, for clusters, where Argo Rollouts or KServe divide the traffic.

Both serve one version in a pod, from the registry's payload on a volume. Argo judges by an AnalysisTemplate whose
PromQL comes from the guards' tolerances: errors and p99 of the two arms in the same minutes. Its windows are fixed and
its comparison is of estimates, so its error cannot be stated, unlike that of the rollouts of `noria serve`. Scores and
labels are in no metric of a server; those guards need `noria serve`. KServe (from 0.20) divides traffic, and judges
nothing.
"""

import dataclasses
from typing import Any

from noria.serving.rollouts.settings import RolloutSettings

REQUESTS, LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency_bucket"
METRICS_PATH = "/monitoring/prometheus/metrics"
WINDOW = "2m"
HASH = "rollouts_pod_template_hash"  # the label that Argo gives to pods, as Prometheus writes it
REST, GRPC = 8501, 8500


@dataclasses.dataclass(frozen=True)
class Target:
    """What is served, and where.

    Args:
      name: of the model, and of all objects.
      image: with `tensorflow_model_server`.
      claim: the PersistentVolumeClaim with the project's home.
      home: the home's path in the volume; empty for its root.
      prometheus: the address that Argo asks.
      replicas: pods.
      namespace: of all objects; the plugin for gateways wants it.
      gateway: the Gateway that a HTTPRoute belongs to; empty for none: then the shares are shares of pods.
    """

    name: str
    image: str
    claim: str
    home: str = ""
    prometheus: str = "http://prometheus.monitoring:9090"
    replicas: int = 4
    namespace: str = "default"
    gateway: str = ""

    def payload(self, version: int) -> str:
        """Path of a version's SavedModel in the volume."""
        return f"{self.home.strip('/')}/registry/versions/{version}/serving".lstrip("/")


def argo(target: Target, version: int, settings: RolloutSettings) -> list[dict[str, Any]]:
    """Services, a Rollout, its AnalysisTemplates, a PodMonitor, and with a gateway a HTTPRoute.

    A next version is rolled out by applying what this gives for it.
    """
    names = {"stable": f"{target.name}-stable", "canary": f"{target.name}-canary"}
    objects = [_config_map(target), *(_service(target, name) for name in names.values())]
    canary: dict[str, Any] = {
        "stableService": names["stable"],
        "canaryService": names["canary"],
        "steps": _steps(target, settings),
        "analysis": {
            "startingStep": 1,
            "templates": [{"templateName": f"{target.name}-guards"}],
            "args": _hashes(),
        },
    }
    if target.gateway:
        plugin = {"httpRoute": target.name, "namespace": target.namespace}
        canary["trafficRouting"] = {"plugins": {"argoproj-labs/gatewayAPI": plugin}}
        objects.append(_route(target, names))
    objects.append(
        {
            **_head("argoproj.io/v1alpha1", "Rollout", target.name),
            "spec": {
                "replicas": target.replicas,
                "selector": {"matchLabels": {"app": target.name}},
                "template": _pod(target, version),
                "strategy": {"canary": canary},
            },
        }
    )
    objects += [_template(target, "guards", _guards(target, settings))]
    objects += [_template(target, "requests", [_enough(target, settings)])]
    return [*objects, _monitor(target)]


def kserve(target: Target, version: int, champion: int, settings: RolloutSettings) -> list[dict[str, Any]]:
    """An InferenceService whose candidate has the share of the first step; change the share by hand."""

    def predictor(number: int) -> dict[str, Any]:
        uri = f"pvc://{target.claim}/{target.payload(number)}"
        return {
            "name": f"version-{number}",
            "minReplicas": 1,
            "model": {
                "name": "kserve-container",
                "modelFormat": {"name": "tensorflow", "version": "2"},
                "runtime": f"{target.name}-runtime",
                "storageUri": uri,
            },
        }

    service = {
        **_head("serving.kserve.io/v1beta1", "InferenceService", target.name),
        "spec": {
            "predictor": predictor(champion),
            "canary": [
                {"predictor": predictor(version), "trafficPercent": max(1, round(settings.steps[0] * 100))}
            ],
        },
    }
    service["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "Standard"}
    # KServe mounts the SavedModel itself at /mnt/models; TensorFlow Serving's layout has a folder for the version.
    link = 'mkdir -p /tmp/served && ln -sfn /mnt/models /tmp/served/1 && exec tensorflow_model_server "$@"'
    flags = ["--model_name={{.Name}}", "--port=9000", "--rest_api_port=8080", "--model_base_path=/tmp/served"]
    runtime = {
        **_head("serving.kserve.io/v1alpha1", "ServingRuntime", f"{target.name}-runtime"),
        "spec": {
            "supportedModelFormats": [{"name": "tensorflow", "version": "2"}],
            "protocolVersions": ["v1", "grpc-v1"],
            "containers": [
                {
                    "name": "kserve-container",
                    "image": target.image,
                    "command": ["sh", "-c", link, "serve"],
                    "args": flags,
                    "securityContext": _security(),
                }
            ],
        },
    }
    return [runtime, service]


def errors(name: str, candidate: str, champion: str) -> str:
    """PromQL: by how much the candidate's share of failed requests exceeds the champion's; 0 where none failed."""
    return f"{_failed(name, candidate)} - {_failed(name, champion)}"


def latency(name: str, candidate: str, champion: str) -> str:
    """PromQL: the candidate's p99 as a multiple of the champion's."""

    def p99(pods: str) -> str:
        rate = f'rate({LATENCY}{{model_name="{name}",{HASH}="{pods}"}}[{WINDOW}])'
        return f"histogram_quantile(0.99, sum by (le) ({rate}))"

    return f"{p99(candidate)} / {p99(champion)}"


def requests(name: str, candidate: str) -> str:
    """PromQL: the candidate's requests since its pods exist."""
    return f'sum({REQUESTS}{{model_name="{name}",{HASH}="{candidate}"}})'


def _failed(name: str, pods: str) -> str:
    labels = f'model_name="{name}",{HASH}="{pods}"'
    failed = f'(sum(rate({REQUESTS}{{{labels},status!="OK"}}[{WINDOW}])) or vector(0))'
    return f"{failed} / sum(rate({REQUESTS}{{{labels}}}[{WINDOW}]))"


def _guards(target: Target, settings: RolloutSettings) -> list[dict[str, Any]]:
    guards, pods = settings.guards, ("{{args.canary-hash}}", "{{args.stable-hash}}")
    found = []
    if guards.errors is not None:
        found.append(_metric("errors", errors(target.name, *pods), f"result[0] <= {guards.errors:g}", target))
    if guards.latency is not None:
        found.append(
            _metric("latency", latency(target.name, *pods), f"result[0] <= {guards.latency:g}", target)
        )
    return found


def _metric(name: str, query: str, condition: str, target: Target) -> dict[str, Any]:
    return {
        "name": name,
        "interval": "30s",
        "failureLimit": 2,  # one bad minute is none
        # Without traffic there is nothing to compare.
        "successCondition": f"len(result) == 0 || isNaN(result[0]) || {condition}",
        "provider": {"prometheus": {"address": target.prometheus, "query": query}},
    }


def _enough(target: Target, settings: RolloutSettings) -> dict[str, Any]:
    return {
        "name": "requests",
        "interval": "15s",
        "failureLimit": -1,  # waits until it holds (Argo Rollouts from 1.8)
        "consecutiveSuccessLimit": 1,
        "successCondition": "len(result) > 0 && result[0] >= {{args.requests}}",
        "provider": {
            "prometheus": {
                "address": target.prometheus,
                "query": requests(target.name, "{{args.canary-hash}}"),
            }
        },
    }


def _steps(target: Target, settings: RolloutSettings) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for place, share in enumerate(each for each in settings.steps if each < 1):
        wanted = {"name": "requests", "value": str(settings.step_requests * (place + 1))}
        enough = {"templates": [{"templateName": f"{target.name}-requests"}], "args": [*_hashes(), wanted]}
        steps += [
            {"setWeight": max(1, round(share * 100))},
            {"pause": {"duration": f"{max(1, round(settings.step_seconds))}s"}},
            {"analysis": enough},
        ]
    return steps


def _hashes() -> list[dict[str, Any]]:
    return [
        {"name": "stable-hash", "valueFrom": {"podTemplateHashValue": "Stable"}},
        {"name": "canary-hash", "valueFrom": {"podTemplateHashValue": "Latest"}},
    ]


def _template(target: Target, name: str, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    arguments = ["stable-hash", "canary-hash", *(["requests"] if name == "requests" else [])]
    return {
        **_head("argoproj.io/v1alpha1", "AnalysisTemplate", f"{target.name}-{name}"),
        "spec": {"args": [{"name": each} for each in arguments], "metrics": metrics},
    }


def _pod(target: Target, version: int) -> dict[str, Any]:
    folder = f"/models/{target.name}"
    container = {
        "name": "server",
        "image": target.image,
        "command": ["tensorflow_model_server"],
        "args": [
            f"--port={GRPC}",
            f"--rest_api_port={REST}",
            f"--model_name={target.name}",
            f"--model_base_path={folder}",
            "--monitoring_config_file=/etc/serving/monitoring.config",
        ],
        "ports": [{"name": "rest", "containerPort": REST}, {"name": "grpc", "containerPort": GRPC}],
        "readinessProbe": {"httpGet": {"path": f"/v1/models/{target.name}", "port": "rest"}},
        "securityContext": _security(),
        "volumeMounts": [
            {
                "name": "home",
                "mountPath": f"{folder}/{version}",
                "subPath": target.payload(version),
                "readOnly": True,
            },
            {"name": "config", "mountPath": "/etc/serving", "readOnly": True},
        ],
    }
    return {
        "metadata": {"labels": {"app": target.name}, "annotations": {"noria/version": str(version)}},
        "spec": {
            "containers": [container],
            "volumes": [
                {"name": "home", "persistentVolumeClaim": {"claimName": target.claim, "readOnly": True}},
                {"name": "config", "configMap": {"name": f"{target.name}-serving"}},
            ],
        },
    }


def _security() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def _service(target: Target, name: str) -> dict[str, Any]:
    ports = [{"name": "rest", "port": REST}, {"name": "grpc", "port": GRPC}]
    return {**_head("v1", "Service", name), "spec": {"selector": {"app": target.name}, "ports": ports}}


def _route(target: Target, names: dict[str, str]) -> dict[str, Any]:
    backends = [{"name": name, "port": REST} for name in names.values()]
    return {
        **_head("gateway.networking.k8s.io/v1", "HTTPRoute", target.name),
        "spec": {"parentRefs": [{"name": target.gateway}], "rules": [{"backendRefs": backends}]},
    }


def _monitor(target: Target) -> dict[str, Any]:
    return {
        **_head("monitoring.coreos.com/v1", "PodMonitor", target.name),
        "spec": {
            "selector": {"matchLabels": {"app": target.name}},
            "podTargetLabels": ["rollouts-pod-template-hash"],
            "podMetricsEndpoints": [{"port": "rest", "path": METRICS_PATH, "interval": "15s"}],
        },
    }


def _config_map(target: Target) -> dict[str, Any]:
    """TF Serving's monitoring configuration."""
    text = f'prometheus_config {{\n  enable: true\n  path: "{METRICS_PATH}"\n}}\n'
    return {**_head("v1", "ConfigMap", f"{target.name}-serving"), "data": {"monitoring.config": text}}


def _head(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
