"""Writes the page of one run."""

import json
import time
from pathlib import Path

from noria.core import files
from noria.pipeline.report import index, outcome
from noria.pipeline.report.run_data import RunData, read_artifacts


def write(out: Path, run_data: RunData) -> Path:
    """Writes a run's page, its summary and the index of the folder.

    For 25 features it takes 0.1 s; in a process that has yet to import jinja2, numpy and the protos 1.7 s (on
    two busy cores). No file that is missing or damaged makes it raise: the page shows it as such.

    Args:
      out: the page, `<home>/reports/<span>-<run_id>.html`; its folder is made.
      run_data: the run.

    Returns:
      `out`.

    Raises:
      OSError: the folder cannot be written.
    """
    from noria.pipeline.report import jinja, view

    out = Path(out)
    artifacts = read_artifacts(run_data)
    result = outcome.judge(run_data, artifacts)
    content = jinja.render("report.html.j2", **view.build(run_data, artifacts, result), index=index.INDEX)
    summary = {
        "format": index.FORMAT,
        "project": run_data.project,
        "run_id": run_data.run.get("run_id"),
        "span": run_data.run.get("span"),
        "mode": run_data.run.get("mode"),
        "kind": result.kind,
        "headline": result.headline,
        "data": result.data,
        "model": result.model,
        "version": result.version,
        "champion": result.champion,
        "metrics": (artifacts.model_verdict or {}).get("metrics"),
        "reasons": outcome.reasons(run_data, artifacts),
        "seconds": outcome.total_seconds(run_data),
        "written": time.time(),
        "started": run_data.run.get("started"),
    }
    # The summary first: a page without one would be listed without its verdicts.
    files.write_text(out.with_suffix(".json"), json.dumps(summary, indent=1, default=str))
    files.write_text(out, content)
    index.write_index(out.parent)
    return out
