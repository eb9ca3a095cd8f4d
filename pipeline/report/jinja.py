"""Renders the templates of pages."""

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **values: Any) -> str:
    """Renders one of the package's templates; values are escaped."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> Any:
    import jinja2
    from markupsafe import Markup, escape

    from noria.pipeline.report import display_names, words

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def prose(text: object) -> Markup:
        """A sentence for people; what is between backticks is code."""
        return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))

    environment.filters["prose"] = prose
    for function in (words.number, words.fixed, words.change, words.percent, words.seconds, words.moment):
        environment.filters[function.__name__] = function
    environment.filters["metric"] = display_names.metric_name
    environment.filters["measure"] = display_names.measure_name
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment.globals["style"] = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    environment.globals["script"] = Markup(script)
    # Only this script may run: no text of the data can become one, even where an escape is missing.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals["policy"] = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment
