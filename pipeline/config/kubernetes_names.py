"""Names that Kubernetes accepts, checked when the file is read: a cluster would refuse them only after a run has begun.

The rules are those of https://kubernetes.io/docs/concepts/overview/working-with-objects/names and `.../labels`; an
image's name is that of https://github.com/distribution/reference.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:\d+)?"
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"({_HOST}/)?{_PART}(/{_PART})*(:\w[\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?", re.ASCII)


def object_name(value: str) -> str:
    """The name of a claim or a Secret: a DNS-1123 subdomain."""
    if len(value) > 253 or not _SUBDOMAIN.fullmatch(value):
        raise ValueError(
            f"must be a Kubernetes name (lower-case letters, digits, hyphens and dots, at most 253), got {value!r}"
        )
    return value


def image_name(value: str) -> str:
    """`[HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]`."""
    if not _IMAGE.fullmatch(value):
        raise ValueError(
            f"must be an image such as registry.example.com/ml/rides:7 (lower case, no spaces), got {value!r}"
        )
    return value


def secret_keys(value: dict[str, str]) -> dict[str, str]:
    """Keys of a Secret, each with its environment variable."""
    for key, variable in value.items():
        if len(key) > 253 or not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            raise ValueError(
                f"must use only letters, digits, '-', '_' and '.' in a Secret's keys, got {key!r}"
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            raise ValueError(
                f"must name environment variables (letters, digits and '_', not a digit first), got {variable!r}"
            )
    return value


def node_labels(value: dict[str, str]) -> dict[str, str]:
    """Labels of nodes: `[PREFIX/]NAME: VALUE`."""
    for key, wanted in value.items():
        prefix, slash, name = key.rpartition("/")
        good_prefix = not slash or (len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix))
        if not good_prefix or len(name) > 63 or not _QUALIFIED.fullmatch(name):
            raise ValueError(f"must be labels such as pool or example.com/pool, got {key!r}")
        if wanted and (len(wanted) > 63 or not _QUALIFIED.fullmatch(wanted)):
            raise ValueError(
                f"must have values of at most 63 letters, digits, '-', '_' and '.', got {wanted!r} for {key}"
            )
    return value


ObjectName = Annotated[str, AfterValidator(object_name)]
ImageName = Annotated[str, AfterValidator(image_name)]
SecretKeys = Annotated[dict[str, str], AfterValidator(secret_keys)]
NodeLabels = Annotated[dict[str, str], AfterValidator(node_labels)]
