"""A rollout for a cluster has the steps and tolerances of the project's settings."""

import yaml

from noria.serving import manifests
from noria.serving.rollouts.settings import GuardSettings, RolloutSettings

TARGET = manifests.Target("rides", "image:1", "noria", "rides/home", gateway="public")
SETTINGS = RolloutSettings(step_requests=300, guards=GuardSettings(errors=0.02, latency=None))


def by_name(objects: list[dict]) -> dict[tuple[str, str], dict]:
    assert objects == list(yaml.safe_load_all(yaml.safe_dump_all(objects)))
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def test_argo_has_the_steps_and_guards() -> None:
    """Each share below 1 is a weight that waits for its requests; a guard that is off has no metric."""
    found = by_name(manifests.argo(TARGET, 7, SETTINGS))
    canary = found["Rollout", "rides"]["spec"]["strategy"]["canary"]
    assert [1, 5, 25] == [each["setWeight"] for each in canary["steps"] if "setWeight" in each]
    waits = [each["analysis"]["args"][-1]["value"] for each in canary["steps"] if "analysis" in each]
    assert ["300", "600", "900"] == waits
    (metric,) = found["AnalysisTemplate", "rides-guards"]["spec"]["metrics"]
    assert metric["successCondition"].endswith("result[0] <= 0.02")
    assert "{{args.canary-hash}}" in metric["provider"]["prometheus"]["query"]
    (container,) = found["Rollout", "rides"]["spec"]["template"]["spec"]["containers"]
    mounts = {each["mountPath"]: each.get("subPath") for each in container["volumeMounts"]}
    assert "rides/home/registry/versions/7/serving" == mounts["/models/rides/7"]
    assert {"rides-stable", "rides-canary"} == {name for kind, name in found if kind == "Service"}
    assert ("HTTPRoute", "rides") in found


def test_kserve_has_both_versions() -> None:
    """The champion is the predictor, the candidate the canary with the first step's share."""
    service = by_name(manifests.kserve(TARGET, 7, 6, SETTINGS))["InferenceService", "rides"]["spec"]
    (canary,) = service["canary"]
    assert 1 == canary["trafficPercent"]
    assert "pvc://noria/rides/home/registry/versions/7/serving" == canary["predictor"]["model"]["storageUri"]
    assert "version-6" == service["predictor"]["name"]
