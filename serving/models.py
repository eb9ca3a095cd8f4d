"""All models of a server: the configuration that names them, labels, and the version that a request means."""

import asyncio
import dataclasses
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from noria.serving import service
from noria.serving.audit_log import AuditLog
from noria.serving.batching import Limits
from noria.serving.grpc_status import Code, StatusError, invalid
from noria.serving.model import Model
from noria.serving.prediction_log import PredictionLog
from noria.serving.processes import Spawner
from noria.serving.prometheus import Metrics
from noria.serving.protos import model_server_config_pb2
from noria.serving.rollouts.judge import Judge
from noria.serving.rollouts.operations import Rollouts
from noria.serving.rollouts.settings import RolloutSettings
from noria.serving.rollouts.traffic import Traffic
from noria.serving.version import Version

LOG = logging.getLogger("noria.serving")
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Options:
    """How models are served.

    Args:
      poll_seconds: how often the folders are read.
      limits: bounds of each version's queue.
      max_resident: versions of a model in memory.
      max_memory: bytes that the processes of a model's versions may have for themselves; 0 for no bound.
      any_label: labels may name versions that are not available.
      check_method: Classify and Regress demand the signature's method name, as TF Serving's
        `--enable_signature_method_name_check`.
      warm: whether the warm-up files are replayed.
      tags: the tags of the MetaGraph.
      threads: of TensorFlow within one operation.
      load_seconds: a load that takes longer counts as hanging.
      standby: whether a process is kept with its graph, so that a version with other weights serves at once.
      log_folder: where what is answered is logged; None for nowhere.
      trusted: PEM files of public keys; one of them must have signed a version. Empty for no check.
      prefer_lite: a TF Lite model is loaded also where there is a SavedModel beside it.
      fallback: whether the twin, or the version before the newest, stays loaded, and answers where the newest fails.
      rollouts: how a candidate is rolled out; None for a server without rollouts.
      home: the project's home folder: rollouts are recorded in its registry.
      published: the model directory in `home`, if what is served is a copy of it.
      signing_key: PEM file of the key that signs what a rollout promotes; not used where the server cannot read it.
      record: called with each event of a rollout or a fallback, for an audit log.
    """

    poll_seconds: float = 1.0
    limits: Limits = Limits()
    max_resident: int = 16
    max_memory: int = 0
    any_label: bool = False
    check_method: bool = False
    warm: bool = True
    tags: tuple[str, ...] = ("serve",)
    threads: int = 1
    load_seconds: float = 300.0
    standby: bool = True
    log_folder: Path | None = None
    trusted: tuple[Path, ...] = ()
    prefer_lite: bool = False
    fallback: bool = False
    rollouts: RolloutSettings | None = None
    home: Path | None = None
    published: Path | None = None
    signing_key: Path | None = None
    record: Callable[[dict[str, Any]], None] = lambda event: None


class Models:
    """The models that the newest configuration names."""

    def __init__(self, options: Options, metrics: Metrics, audit: AuditLog | None = None):
        self.options, self.metrics, self.audit = options, metrics, audit
        self.models: dict[str, Model] = {}
        self.labels: dict[str, dict[str, int]] = {}
        self.judges: dict[str, Judge] = {}
        self.closing = False
        self.log = PredictionLog(options.log_folder) if options.log_folder is not None else None
        self._config: Any = None
        self._spawner = Spawner()
        self._reloading = asyncio.Lock()
        self._falling: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether every configured model answers now."""
        latest = [each.latest() for each in self.models.values()]
        return not self.closing and bool(latest) and all(each is not None and each.live for each in latest)

    async def reload(self, config: Any) -> None:
        """Serves what a ModelServerConfig names, and nothing else; returns when new models have loaded.

        Raises:
          StatusError: the configuration is not valid, a label names a version that is not available, or a new model
            has no version that loads.
        """
        async with self._reloading:
            kind = config.WhichOneof("config")
            if kind is None:
                return
            if kind != "model_config_list":
                raise invalid("a custom_model_config is not supported, only a model_config_list")
            self._check(config.model_config_list.config)
            self._config = model_server_config_pb2.ModelServerConfig()
            self._config.CopyFrom(config)
            self.labels = self._new_labels()
            await self._apply()

    async def close(self, drain: bool = True) -> None:
        """Unloads everything."""
        self.closing = True
        await asyncio.gather(*(each.stop() for each in self.judges.values()))
        await asyncio.gather(*self._falling, return_exceptions=True)
        await asyncio.gather(*(each.stop(drain) for each in self.models.values()))
        await self._spawner.close()
        if self.log is not None:
            await asyncio.to_thread(self.log.close)

    def ask(self, spec: Any, call: Callable[[Version], Awaitable[Answer]]) -> Awaitable[Answer]:
        """The answer of the version that a ModelSpec means; of one that a rollout chooses if it names none.

        Raises:
          StatusError: it names none that serves, or the request fails.
        """
        model = self.models.get(spec.name)
        if model is None or spec.WhichOneof("version_choice") is not None:
            return call(self.find(spec))
        return model.traffic.ask(call)

    def label(self, name: str) -> str:
        """A model's name in the metrics; empty for one that is not served, as clients can invent such names."""
        return name if name in self.models else ""

    def find(self, spec: Any) -> Version:
        """The version that a ModelSpec means.

        Raises:
          StatusError: it names none that serves.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        model = self.models.get(spec.name)
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            version, wanted = model.latest() if model else None, f"Latest({spec.name})"
        else:
            number = self._label(spec) if choice == "version_label" else spec.version.value
            version, wanted = model.specific(number) if model else None, f"Specific({spec.name}, {number})"
        if version is None:
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return version

    def states(self, spec: Any) -> list[Version]:
        """The versions of GetModelStatus, newest first, also those that have ended.

        Raises:
          StatusError: there are none.
        """
        model = self.models.get(spec.name)
        versions = model.versions if model else {}
        if spec.WhichOneof("version_choice") == "version":
            number = spec.version.value
            if number not in versions:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {number} of model {spec.name}")
            return [versions[number]]
        if not versions:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return [versions[number] for number in sorted(versions, reverse=True)]

    def gauges(self) -> None:
        """Brings the metrics of now up to date: queues, memory, versions."""
        metrics = self.metrics
        metrics.queue.values.clear()
        metrics.memory.values.clear()
        metrics.serving.values.clear()
        metrics.rollout_share.values.clear()
        metrics.rollout_requests.values.clear()
        if self.log is not None:
            metrics.logged.set(to=self.log.logged)
            metrics.unlogged.set(to=self.log.lost)
        for model in self.models.values():
            latest = model.latest()
            if latest is not None:
                metrics.serving.set(model.name, to=latest.number)
            traffic = model.traffic
            if traffic.rollout is not None and traffic.guards is not None:
                metrics.rollout_share.set(model.name, str(traffic.rollout.version), to=traffic.rollout.share)
                for arm, count in traffic.guards.requests.items():
                    metrics.rollout_requests.set(model.name, arm, to=count)
            for version in model.versions.values():
                if version.process is not None and not version.process.ended.done():
                    labels = model.name, str(version.number)
                    metrics.queue.set(*labels, to=len(version.queue))
                    metrics.memory.set(*labels, to=version.process.memory)

    def _label(self, spec: Any) -> int:
        number = self.labels.get(spec.name, {}).get(spec.version_label)
        if number is None:
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        return number

    def _check(self, configs: Any) -> None:
        names = set()
        for config in configs:
            if config.name in names:
                raise invalid(f"Illegal to list model {config.name} multiple times in config list")
            names.add(config.name)
            if not os.path.isabs(config.base_path):
                raise invalid(
                    f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}"
                )
            if not (config.model_platform or config.model_type):
                raise invalid(
                    "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                    f"ModelServerConfig::model_platform, model name is {config.name}"
                )
            if config.model_platform and config.model_platform != "tensorflow":
                raise invalid(f"Model {config.name} requests unsupported platform {config.model_platform}")

    def _new_labels(self) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for config in self._config.model_config_list.config:
            model = self.models.get(config.name)
            for label, number in sorted(config.version_labels.items()):
                moved = self.labels.get(config.name, {}).get(label, number) != number
                available = model is not None and model.specific(number) is not None
                if not available and (moved or not self.options.any_label):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {config.name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(config.name, {})[label] = number
        return labels

    async def _apply(self) -> None:
        configs = {each.name: each for each in self._config.model_config_list.config}
        for name in [name for name in self.models if name not in configs]:
            if name in self.judges:
                await self.judges.pop(name).stop()
            await self.models.pop(name).stop(drain=True)
        new = []
        for name, config in configs.items():
            if name in self.models:
                self.models[name].config = config
            else:
                self.models[name] = self._model(config)
                new.append(self.models[name])
        await asyncio.gather(*(self._begin(each) for each in new))
        await asyncio.gather(*(each.follow() for each in self.models.values() if each not in new))
        missing = [each for each in new if each.latest() is None]
        if missing:
            reasons = ", ".join(
                f"{{{each.name}: {'; '.join(str(v.error) for v in each.versions.values() if v.error) or 'no version'}}}"
                for each in missing
            )
            raise StatusError(
                Code.UNKNOWN, f"{len(missing)} model(s) did not become available: {{{reasons}}}"
            )

    def _model(self, config: Any) -> Model:
        options = self.options
        self.metrics.refusals.add(config.name, by=0)

        async def warm(version: Version) -> None:
            if options.warm:
                await service.warm(version, self.metrics)

        def make(number: int, folder: Path) -> Version:
            return Version(
                config.name,
                number,
                folder,
                self._spawner,
                options.limits,
                self.metrics,
                warm,
                options.tags,
                options.threads,
                options.load_seconds,
                self.log,
                options.trusted,
                options.prefer_lite,
            )

        def note(event: str, version: int, **fields: str) -> None:
            if self.audit is not None:
                self.audit.note(event, model=config.name, version=version, **fields)

        def collapsed(champion: Version, fallback: Version, reason: str) -> None:
            model.distrust(champion.number)
            self.metrics.rollbacks.add(model.name, "collapse")
            LOG.error(
                "version %d of model %s is rolled back: %s; version %d answers",
                champion.number,
                model.name,
                reason,
                fallback.number,
            )
            rollouts = self._rollouts(config, options.published)
            task = asyncio.create_task(
                asyncio.to_thread(rollouts.fall_back, champion.number, fallback.number, reason)
            )
            self._falling.add(task)
            task.add_done_callback(self._fallen)

        model = Model(
            config,
            make,
            options.poll_seconds,
            options.max_resident,
            options.max_memory,
            options.standby,
            options.fallback,
            lambda made: Traffic(made, self.metrics, collapsed),
            note,
        )
        return model

    async def _begin(self, model: Model) -> None:
        await model.start()
        if self.options.rollouts is not None:
            rollouts = self._rollouts(model.config)
            judge = Judge(model, model.traffic, rollouts, self.options.rollouts, self.metrics)
            await judge.start()
            self.judges[model.name] = judge

    def _rollouts(self, config: Any, published: Path | None = None) -> Rollouts:
        root, home, key = published or Path(config.base_path), self.options.home, self.options.signing_key
        own = home is not None and root.is_relative_to(home / "models")  # the project's model directory
        key = key if own and key is not None and os.access(key, os.R_OK) else None
        return Rollouts(root, home if own else None, self._record, key)

    def _record(self, event: dict[str, Any]) -> None:
        self.options.record(event)
        if self.audit is not None:
            self.audit.note(**event)

    def _fallen(self, task: asyncio.Task[None]) -> None:
        self._falling.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.error("the rollback is not recorded: %s", task.exception())
