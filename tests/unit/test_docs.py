"""The pages in Markdown."""

import re
from pathlib import Path

import pytest

from tests.helpers import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
HEADING, LINK = re.compile(r"^#+ (.*)$", re.MULTILINE), re.compile(r"\]\(([^)\s]+)\)")


def anchor(heading: str) -> str:
    """What GitHub makes of a heading (its HTML pipeline's `TableOfContentsFilter`)."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and each anchor a heading of that page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [] == [link for link in links if not leads_somewhere(page, link)]


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link of a page names a file and, if it has an anchor, a heading there."""
    path, _, place = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not place or place in map(anchor, HEADING.findall(target.read_text(encoding="utf-8")))
