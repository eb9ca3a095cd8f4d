"""Which image the tasks run: from the flag, then the environment, then the project's file.

CI names a new one for each commit, so that a package never runs other code than it was compiled from.
"""

import os
from collections.abc import Mapping

from noria.core.errors import ConfigError
from noria.pipeline.config import Config
from noria.pipeline.config.kubernetes_names import image_name

VARIABLE = "NORIA_KUBEFLOW_IMAGE"


def with_image(config: Config, flag: str | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The same settings, with the image that counts as `kubeflow.image`.

    Args:
      config: the project's settings.
      flag: `--image`; None or '' where it is not given.
      environ: holds `NORIA_KUBEFLOW_IMAGE`; None for this process's own.

    Raises:
      ConfigError: it is no image's name.
    """
    given = (os.environ if environ is None else environ).get(VARIABLE)
    image, where = (flag, "--image") if flag else (given, VARIABLE)
    if not image:
        return config
    try:
        image_name(image)
    except ValueError as error:
        raise ConfigError(
            f"the image {error}", where=where, next_step="name the image as `docker push` takes it"
        ) from None
    return config.model_copy(update={"kubeflow": config.kubeflow.model_copy(update={"image": image})})
