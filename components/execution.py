"""The choice between this process and Beam: one rule for the stages that have both paths.

In process every stage reads in batches. What it holds besides them grows slowly: StatisticsGen the distinct strings
(`statistics_gen/exact_counts.py`), Transform the accumulators of its analyzers, the Evaluator labels, scores and slices
of the eval split, about 150 bytes a row at its peak (`evaluator/rows.py`): 1.5 GB for 10 million rows. So size
alone is not a reason for Beam; more machines are. Beam's direct runner has none, and takes several times as long.
"""

from collections.abc import Sequence
from typing import Any

from noria.core.errors import ConfigError, did_you_mean

EXECUTIONS = ("auto", "in-process", "beam")
# Runners of Beam that use this machine only; Beam itself takes their names in any case.
_LOCAL = ("directrunner", "bundlebaseddirectrunner", "switchingdirectrunner", "prismrunner", "fnapirunner")
# Below this many bytes one process takes minutes, and a cluster takes minutes to start its workers: the full year of
# flights (327,346 rows) is 32 MiB of examples, and takes about 20 s of processor time.
LEAVE_MACHINE_BYTES = 1 << 30


def choose(execution: str, size: int, beam_args: Sequence[Any] = ()) -> tuple[str, str]:
    """Chooses the path.

    Args:
      execution: `auto`, `in-process` or `beam`, as the config says.
      size: compressed bytes to read.
      beam_args: the component's Beam arguments.

    Returns:
      `in-process` or `beam`, and the reason for the journal.

    Raises:
      ConfigError: an unknown value of `execution`.

    >>> choose("auto", 2 << 20)
    ('in-process', '2 MiB, read in batches')
    >>> choose("auto", 3 << 30, ["--runner=FlinkRunner"])
    ('beam', '3,072 MiB, and FlinkRunner has more machines')
    >>> choose("beam", 2 << 20)
    ('beam', 'execution: beam')
    """
    if execution not in EXECUTIONS:
        raise ConfigError(
            f"execution must be one of {', '.join(EXECUTIONS)}, got {execution!r}",
            where="config key execution",
            next_step=did_you_mean(execution, EXECUTIONS) or "correct `execution` in the config",
        )
    if execution != "auto":
        return execution, f"execution: {execution}"
    runner = remote_runner(beam_args)
    if runner is not None and size > LEAVE_MACHINE_BYTES:
        return "beam", f"{size >> 20:,} MiB, and {runner} has more machines"
    return "in-process", f"{size >> 20:,} MiB, read in batches"


def remote_runner(beam_args: Sequence[str]) -> str | None:
    """The runner that Beam's arguments name, if its workers are on other machines.

    >>> remote_runner(["--runner", "FlinkRunner"])
    'FlinkRunner'
    """
    found = None
    for at, argument in enumerate(beam_args):
        if argument.startswith("--runner="):
            found = argument.split("=", 1)[1]
        elif argument == "--runner" and at + 1 < len(beam_args):
            found = beam_args[at + 1]
    name = found and found.rpartition(".")[2]  # it may be the path of a class
    return None if name is None or name.lower() in _LOCAL else name
