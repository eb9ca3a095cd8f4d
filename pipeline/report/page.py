"""Writes the page of one run."""

import base64
import functools
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from noria.core import files
from noria.pipeline.report import index, outcome
from noria.pipeline.report.run_data import RunFacts, gather

TEMPLATES = Path(__file__).with_name("templates")


def write(out: Path, facts: RunFacts) -> Path:
    """Writes a run's page, its summary and the index of the folder.

    For 25 features it takes 0.1 s; in a process that has yet to import jinja2, numpy and the protos 1.7 s (on
    two busy cores). No file that is missing or damaged makes it raise: the page shows it as such.

    Args:
      out: the page, `<home>/reports/<span>-<run_id>.html`; its folder is made.
      facts: the run.

    Returns:
      `out`.

    Raises:
      OSError: the folder cannot be written.
    """
    from noria.pipeline.report import view

    out = Path(out)
    artifacts = gather(facts)
    result = outcome.judge(facts, artifacts)
    content = render("report.html.j2", **view.build(facts, artifacts, result), index=index.INDEX)
    summary = {
        "format": index.FORMAT,
        "project": facts.project,
        "run_id": facts.run.get("run_id"),
        "span": facts.run.get("span"),
        "mode": facts.run.get("mode"),
        "kind": result.kind,
        "headline": result.headline,
        "data": result.data,
        "model": result.model,
        "version": result.version,
        "champion": result.champion,
        "metrics": (artifacts.model_verdict or {}).get("metrics"),
        "reasons": outcome.reasons(facts, artifacts),
        "seconds": outcome.total_seconds(facts),
        "written": time.time(),
        "started": facts.run.get("started"),
    }
    # The summary first: a page without one would be listed without its facts.
    files.write_text(out.with_suffix(".json"), json.dumps(summary, indent=1, default=str))
    files.write_text(out, content)
    index.write_index(out.parent)
    return out


def render(template: str, **values: Any) -> str:
    """Renders one of the package's templates; values are escaped."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> Any:
    import jinja2
    from markupsafe import Markup

    from noria.pipeline.report import words

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (words.number, words.fixed, words.change, words.percent, words.seconds, words.moment):
        environment.filters[function.__name__] = function
    environment.filters["metric"] = words.metric_name
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment.globals["style"] = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    environment.globals["script"] = Markup(script)
    # Only this very script may run: no text of the data can become one, even if an escape were forgotten.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals["policy"] = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment
