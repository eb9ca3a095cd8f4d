"""The tasks that a model may have."""

from typing import Literal, get_args

Task = Literal["binary", "multiclass", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)
DEFAULT_TASK: Task = "binary"
