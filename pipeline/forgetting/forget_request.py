"""The request that is being carried out: `forget/pending.json`, there from before the first change to after the last.

It alone has the keys in clear, because a killed command must be finished. The registry's events keep who asked, why,
when, what was changed, and the keys' digest.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import DataError
from noria.pipeline.forgetting.keys import Keys

FILE = "forget/pending.json"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request to forget.

    Attributes:
      id: distinguishes it from others.
      keys: whose rows go.
      reason, actor: why, and who asked.
      spans: (span, version) that held a key when it began.
      report: what was found then, for the registry.
      predictions: folders of prediction logs outside of the home.
    """

    id: str
    keys: Keys
    reason: str
    actor: str
    spans: tuple[tuple[int, int], ...]
    report: dict[str, Any]
    predictions: tuple[Path, ...] = ()

    def save(self, home: Path) -> None:
        """Writes the file in one step."""
        values = dataclasses.asdict(self) | {
            "keys": self.keys.to_json(),
            "predictions": [str(folder) for folder in self.predictions],
        }
        files.write_json(home / FILE, values)

    @classmethod
    def load(cls, home: Path) -> "Request | None":
        """The request that has begun and not ended; None if there is none.

        Raises:
          DataError: the file is damaged.
        """
        path = home / FILE
        try:
            values = json.loads(files.fetched(path).read_text(encoding="utf-8"))
            values["keys"] = Keys.from_json(values["keys"])
            values["spans"] = tuple((span, version) for span, version in values["spans"])
            values["predictions"] = tuple(map(Path, values["predictions"]))
            return cls(**values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"a request to forget that has begun cannot be read: {error!r}",
                where=path,
                next_step="delete it, and repeat the command `noria forget` that wrote it",
            ) from error

    @staticmethod
    def end(home: Path) -> None:
        """Deletes the file."""
        files.sweep(home / "forget")
        files.remove_tree(home / FILE)
