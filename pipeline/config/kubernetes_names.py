"""Names that Kubernetes accepts, checked when the file is read: a cluster would refuse them only after a run has begun.

The rules are those of https://kubernetes.io/docs/concepts/overview/working-with-objects/names and `.../labels`; an
image's name is that of https://github.com/distribution/reference.
"""

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
# Where Kubeflow mounts its own volumes into each task (`argocompiler/container.go`).
RESERVED = ("s3", "minio", "gcs", "kfp-launcher", ".local", ".cache", ".config")
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:\d+)?"
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"({_HOST}/)?{_PART}(/{_PART})*(:\w[\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?", re.ASCII)


def object_name(value: str) -> str:
    """The name of a Secret or a config map: a DNS-1123 subdomain."""
    if len(value) > 253 or not _SUBDOMAIN.fullmatch(value):
        raise ValueError(
            f"must be a Kubernetes name (lower-case letters, digits, hyphens and dots, at most 253), got {value!r}"
        )
    return value


def is_label(value: str) -> bool:
    """Whether it is a DNS-1123 label, as the name of a pod's volume must be."""
    return len(value) <= 63 and bool(re.fullmatch(_LABEL, value))


def claim_name(value: str) -> str:
    """The name of a claim. Kubeflow makes a volume of the same name, which must be a DNS label."""
    if not is_label(value):
        raise ValueError(
            "must be a name of lower-case letters, digits and hyphens, at most 63, as Kubeflow gives the pod's volume "
            f"the same name, got {value!r}; a claim of another name needs a second claim for the same volume"
        )
    return value


def mount_path(value: str) -> str:
    """An absolute path in the container that hides nothing of Kubeflow's."""
    path = PurePosixPath(value)
    if not path.is_absolute() or path == PurePosixPath("/"):
        raise ValueError(f"must be an absolute path in the container, got {value!r}")
    if path.parts[1] in RESERVED:
        raise ValueError(
            f"must not be /{path.parts[1]}, where Kubeflow's launcher keeps its files, got {value!r}"
        )
    return value


def qualified_name(value: str) -> str:
    """`[PREFIX/]NAME`, as of labels, annotations and resources."""
    prefix, slash, name = value.rpartition("/")
    good_prefix = not slash or (len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix))
    if not good_prefix or len(name) > 63 or not _QUALIFIED.fullmatch(name):
        raise ValueError(f"must be a name such as pool or example.com/pool, got {value!r}")
    return value


def variable(value: str) -> str:
    """An environment variable that Kubeflow does not set itself."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            f"must name environment variables (letters, digits and '_', not a digit first), got {value!r}"
        )
    if value.startswith("KFP_"):
        raise ValueError(f"must not begin with KFP_, which Kubeflow keeps for its launcher, got {value!r}")
    return value


def annotations(value: dict[str, str]) -> dict[str, str]:
    """Annotations: `[PREFIX/]NAME: any text`."""
    for key in value:
        qualified_name(key)
    return value


def environment(value: dict[str, str]) -> dict[str, str]:
    """Environment variables with their values."""
    for name in value:
        variable(name)
    return value


def image_name(value: str) -> str:
    """`[HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]`."""
    if not _IMAGE.fullmatch(value):
        raise ValueError(
            f"must be an image such as registry.example.com/ml/rides:7 (lower case, no spaces), got {value!r}"
        )
    return value


def secret_keys(value: dict[str, str]) -> dict[str, str]:
    """Keys of a Secret or a config map, each with its environment variable."""
    for key, name in value.items():
        if len(key) > 253 or not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            raise ValueError(
                f"must use only letters, digits, '-', '_' and '.' in the keys of a Secret or config map, got {key!r}"
            )
        variable(name)
    return value


def node_labels(value: dict[str, str]) -> dict[str, str]:
    """Labels of nodes or pods: `[PREFIX/]NAME: VALUE`."""
    for key, wanted in value.items():
        qualified_name(key)
        if wanted and (len(wanted) > 63 or not _QUALIFIED.fullmatch(wanted)):
            raise ValueError(
                f"must have values of at most 63 letters, digits, '-', '_' and '.', got {wanted!r} for {key}"
            )
    return value


ObjectName = Annotated[str, AfterValidator(object_name)]
ImageName = Annotated[str, AfterValidator(image_name)]
ClaimName = Annotated[str, AfterValidator(claim_name)]
MountPath = Annotated[str, AfterValidator(mount_path)]
SecretKeys = Annotated[dict[str, str], AfterValidator(secret_keys)]
Labels = Annotated[dict[str, str], AfterValidator(node_labels)]
Annotations = Annotated[dict[str, str], AfterValidator(annotations)]
Environment = Annotated[dict[str, str], AfterValidator(environment)]
