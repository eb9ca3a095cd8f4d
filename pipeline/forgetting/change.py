"""What `noria forget` changes, store by store."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Change:
    """One thing that holds a key, or may hold it.

    Attributes:
      store: `spans`, `segments`, `dead letters`, `landing`, `statistics`, `analyzer cache`, `artifacts`, `tables`.
      name: which one, relative to the home.
      rows: how many rows go; None where all of it is deleted and, if needed, made again.
    """

    store: str
    name: str
    rows: int | None = None
