"""`noria forget`: the rows of a key leave everything that the home keeps, each store in a file of this folder."""

from noria.pipeline.forgetting.forget import Forgotten, finish, forget
from noria.pipeline.forgetting.keys import Keys

__all__ = ["Forgotten", "Keys", "finish", "forget"]
