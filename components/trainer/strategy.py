"""The config's `strategy` as a tf.distribute.Strategy."""

import functools
import json
import os
from typing import Any

from noria.components.libraries import tf
from noria.components.trainer.settings import Settings
from noria.core.errors import ConfigError


def create(settings: Settings) -> Any:
    """Creates the strategy.

    `multi_worker` reads TF_CONFIG, as every TensorFlow cluster sets it, and must be created before TensorFlow
    has done anything else in the process; later calls return the same one.

    Raises:
      ConfigError: multi_worker without TF_CONFIG, or devices that are not there.
    """
    if settings.strategy == "none":
        return tf.distribute.get_strategy()
    if settings.strategy == "mirrored":
        there = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
        wrong = [name for name in settings.devices or () if name not in there]
        if wrong:
            raise ConfigError(
                f"the mirrored strategy cannot use {wrong}: there are no such devices",
                where="config key trainer.devices",
                next_step=f"the devices here are {there}",
            )
        return tf.distribute.MirroredStrategy(list(settings.devices) if settings.devices else None)
    return _multi_worker()


@functools.cache
def _multi_worker() -> Any:
    try:
        config = json.loads(os.environ.get("TF_CONFIG", ""))
        workers = config["cluster"]["worker"]
        config["task"]["index"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "strategy multi_worker needs TF_CONFIG with cluster.worker and task, "
            f"got {os.environ.get('TF_CONFIG')!r}",
            where="environment variable TF_CONFIG",
            next_step="let the cluster's training operator set it, or use strategy: mirrored on one machine",
        ) from error
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ConfigError(
            f"the multi_worker strategy over {workers} could not be created: {error}",
            where="environment variable TF_CONFIG",
            next_step="run the Trainer in its own process: the strategy must come before all TensorFlow work",
        ) from error


def is_chief(settings: Settings) -> bool:
    """Whether this process writes what the run publishes: the first of several workers."""
    if settings.strategy != "multi_worker":
        return True
    resolver = create(settings).cluster_resolver
    return resolver.task_type == "chief" or (resolver.task_type == "worker" and resolver.task_id == 0)
