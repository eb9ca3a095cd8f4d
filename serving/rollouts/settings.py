"""How a candidate is rolled out, and what ends a rollout: the keys of `serving`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from noria.core.settings import Settings

__all__ = ["GuardSettings", "Mode", "RolloutSettings", "ServingSettings"]

Mode = Literal["shadow", "canary", "ab"]
Share = Annotated[float, Field(gt=0, le=1)]


class GuardSettings(Settings):
    """What is tolerated of a candidate, compared with the champion in the same period; None switches a guard off."""

    errors: float | None = Field(
        default=0.005,
        ge=0,
        lt=1,
        description="The candidate may fail in this share of requests more than the champion.",
    )
    latency: float | None = Field(
        default=1.5, gt=1, description="The candidate's p99 may be so many times the champion's."
    )
    scores: float | None = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="The distribution of the candidate's scores may differ so much from the champion's "
        "(Kolmogorov's distance).",
    )
    loss: float | None = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="Where labels arrive, the candidate's mean loss may exceed the champion's by so much: the Brier "
        "score, or for a regression the absolute error in four medians of the champion's, at most 1.",
    )


class RolloutSettings(Settings):
    """The keys of `serving.rollout`."""

    mode: Mode | None = Field(
        default=None,
        description="How a version that is blessed reaches traffic: `canary` (by `steps`), `ab` (a fixed `share`), "
        "`shadow` (its answers are dropped). Default: it is published at once.",
    )
    steps: list[Share] = Field(
        default=[0.01, 0.05, 0.25, 1.0],
        min_length=1,
        description="Shares of the keys that a canary gets, step by step; 1 makes it the champion.",
    )
    share: Share = Field(
        default=0.5,
        description="Share of the keys that `ab` gives to the candidate, or that `shadow` mirrors.",
    )
    step_requests: int = Field(
        default=500, ge=1, description="Requests that the candidate must have answered in each step."
    )
    step_seconds: float = Field(default=60.0, ge=0, description="The least duration of a step.")
    false_alarms: float = Field(
        default=0.005,
        gt=0,
        lt=1,
        description="The probability, at most, that a candidate within the tolerances is rolled back; all guards "
        "together, however long the rollout is watched.",
    )
    header: str = Field(
        default="x-rollout-key",
        pattern=r"^[a-z0-9-]+$",
        description="The header (gRPC: metadata) with the key; a key's requests have one version. A request without "
        "it gets a version at random.",
    )
    guards: GuardSettings = Field(default=GuardSettings(), description="What is tolerated of a candidate.")

    @field_validator("steps")
    @classmethod
    def _ascending(cls, value: list[float]) -> list[float]:
        if sorted(set(value)) != value:
            raise ValueError(f"must ascend, got {value}")
        return value


class ServingSettings(Settings):
    """The keys of `serving`."""

    fallback: bool = Field(
        default=True,
        description="Whether `noria serve` keeps a second model loaded, the cold twin if it is better (`window.twin`), "
        "else the champion before the newest: it answers the requests in which the newest fails, and takes over when "
        "the newest collapses.",
    )
    rollout: RolloutSettings = Field(
        default=RolloutSettings(), description="A candidate beside the champion (docs/serving.md)."
    )
