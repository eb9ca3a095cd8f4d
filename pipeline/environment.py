"""How Noria and its packages were installed, and what to type to repair that: in a clone, or after `pip install`."""

import importlib.metadata
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import parse_tag, sys_tags

# The packages of TFX that are built for one kind of machine.
_BUILT = ("ml-metadata", "tensorflow-data-validation", "tfx-bsl")


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def clone() -> Path | None:
    """The folder of the clone that Noria runs from; None if it was installed as a wheel."""
    for found in importlib.metadata.distributions(name="noria"):
        # An egg-info in the working folder comes before the installed package; only an egg-info has this file.
        if found.read_text("SOURCES.txt") is None:
            source = json.loads(found.read_text("direct_url.json") or "{}")
            editable = source.get("dir_info", {}).get("editable", False)
            return Path(unquote(urlparse(source["url"]).path)) if editable else None
    return None


def how_to_install(extra: str) -> str:
    """The command that installs the packages of an extra."""
    return "make setup" if clone() else f"pip install 'noria[{extra}]'"


def built_for_another_machine() -> list[str]:
    """Packages with a wheel that this interpreter, machine or C library does not fit."""
    here, wrong = set(sys_tags()), []
    for package in filter(version, _BUILT):
        text = importlib.metadata.distribution(package).read_text("WHEEL") or ""
        tags = re.findall(r"^Tag: (\S+)", text, re.MULTILINE)
        if tags and not any(parse_tag(tag) & here for tag in tags):
            wrong.append(f"{package} {version(package)} was built for {tags[-1]}")
    return wrong


def lock() -> Path | None:
    """The lock file of the clone that has the installed TFX."""
    root, tfx = clone(), version("tfx")
    locks = sorted(root.glob("locks/*.txt")) if root else []
    return next((path for path in locks if f"\ntfx=={tfx} " in path.read_text(encoding="utf-8")), None)


def differences(lock_text: str) -> list[str]:
    """Packages that are missing or in another version than a lock file says."""
    wrong = []
    for line in lock_text.splitlines():
        found = re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)(?:\s*;([^\\]+))?", line)
        if not found or (found[3] and not Marker(found[3].strip()).evaluate()):  # for another machine
            continue
        have = version(found[1])
        if have is None:
            wrong.append(f"{found[1]} is missing")
        elif have != found[2]:
            wrong.append(f"{found[1]} is {have}, not {found[2]}")
    return wrong


def unmet() -> list[str]:
    """The requirements of Noria, its extras aside, that no installed package meets."""
    wrong = []
    for requirement in map(Requirement, importlib.metadata.requires("noria") or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            have = version(requirement.name)
            if have is None or not requirement.specifier.contains(have, prereleases=True):
                wrong.append(f"{requirement.name}{requirement.specifier}")
    return wrong
