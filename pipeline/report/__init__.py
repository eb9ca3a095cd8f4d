"""The report: one static page per run of the pipeline, and an index over all of them.

The pages open offline: the style, the script and every plot are inside the file, and a content security policy
keeps the browser from fetching anything else.

    write(out, run_data)   writes the page, its summary (`.json` beside it) and the index, each by one rename

Importing this package is cheap enough for the command line: jinja2, numpy and the protos are imported by the
functions that need them. The plots are drawn as SVG by the templates: matplotlib's import
alone takes 1.1 s, more than the whole report, and its SVG follows neither dark mode nor the window's width.
"""

from noria.pipeline.report.index import write_index
from noria.pipeline.report.page import write
from noria.pipeline.report.run_data import RunData

__all__ = ["RunData", "write", "write_index"]
