"""Remote: files by URL, in object stores and on web servers, each version of a file fetched once.

Needs fsspec: `pip install "noria[remote]"` installs `s3://` (s3fs), `gs://` (gcsfs) and `https://` (aiohttp). Other
protocols of fsspec work where their package is installed.
"""

import hashlib
import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from noria.core import files
from noria.core.errors import ConfigError, DataError, NoriaError
from noria.ingestion import file_names, source_secrets
from noria.ingestion.sources.base import FoundFile, Source

# What servers call the identity of a file's content, the best first.
_TAGS = (
    "ETag",
    "etag",
    "md5Hash",
    "Content-MD5",
    "generation",
    "Last-Modified",
    "LastModified",
    "updated",
    "mtime",
)


class Remote(Source):
    """Files below a URL; `given` is the URL, or `{url: ..., options: {...}}`.

    The URL is a file, a prefix ("folder") or a glob. `options` go to the file system of fsspec, such as
    `{endpoint_url: "https://minio:9000"}` or `{anon: true}`. `${NAME}` comes from the environment, `${file:PATH}` from
    a file; the stores' own ways (AWS_PROFILE, instance roles, GOOGLE_APPLICATION_CREDENTIALS) work too. A file is
    fetched when its tag (ETag, else its time) or size is new, and kept in the home folder. A new version of a file
    counts as a file that has grown.
    """

    @property
    def name(self) -> str:
        return source_secrets.shown(self._checked()[0])

    def find(self) -> Any:
        url, options = self._checked()
        try:
            import fsspec
        except ImportError as error:
            raise _missing(error) from error
        secrets: list[str | None] = []

        def fill(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: fill(each) for key, each in value.items()}
            if not isinstance(value, str):
                return value
            filled = source_secrets.filled(value, self.folder)
            if filled != value:
                secrets.append(filled)
                secrets.extend(
                    source_secrets.filled(part, self.folder) for part in re.findall(r"\$\{[^{}]+\}", value)
                )
            return filled

        try:
            fs, root = fsspec.core.url_to_fs(fill(url), **fill(options))
            fs.invalidate_cache()
            found = self._listed(fs, root, url)
            files.sweep(self.landing)
            return [self._fetched(fs, path, info, root, url) for path, info in found]
        except ImportError as error:
            raise _missing(error) from None
        except NoriaError:
            raise
        except Exception as error:  # each file system raises other exceptions
            reason = (
                source_secrets.hidden(error, [*secrets, url.partition("?")[2], _user(url)])
                or type(error).__name__
            )
            raise DataError(
                f"the files cannot be fetched: {type(error).__name__}: {reason}",
                where=self.name,
                next_step="correct `data.source`, its credentials or the network, then run again",
            ) from None

    def _listed(self, fs: Any, root: str, url: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The files by path, and what their server says about them."""
        web = url.startswith(("http://", "https://"))
        if any(sign in root for sign in ("*" if web else "*?[")):
            found = {
                path: info for path, info in fs.glob(root, detail=True).items() if info["type"] != "directory"
            }
        elif web and not root.endswith("/"):
            found = {root: fs.info(root)}
        else:
            found = fs.find(root, detail=True)
            if set(found) != {root.rstrip("/")}:
                found = {
                    path: info
                    for path, info in found.items()
                    if file_names.is_table(PurePosixPath(_below(path, root))) and info.get("size") != 0
                }
        if not found:
            raise DataError(
                "there is no CSV, JSON or Parquet file at this URL",
                where=self.name,
                next_step="correct the URL in `data.source`, or put a file there",
            )
        return sorted(found.items())

    def _fetched(self, fs: Any, path: str, info: Mapping[str, Any], root: str, url: str) -> FoundFile:
        """The copy of a file; fetches it if there is none of this version."""
        if not any(info.get(tag) for tag in _TAGS):
            info = {**info, **fs.info(path)}  # a listing of web pages has names alone
        shown = source_secrets.shown(fs.unstrip_protocol(path))
        tag = next((str(info[tag]) for tag in _TAGS if info.get(tag)), None)
        version = None if tag is None else _short(f"{tag} {info.get('size')}")
        folder = self.landing / _short(url if path == root else shown)
        files.fetched(folder)
        base = re.sub(r"[^\w.=-]", "_", posixpath.basename(shown.rstrip("/"))) or "data"
        if version is None or not (folder / version / base).is_file():
            beside = files.staging(self.landing)
            beside.parent.mkdir(parents=True, exist_ok=True)
            try:
                fs.get_file(path, str(beside))
                size = info.get("size")
                if size is not None and "Content-Encoding" not in info and size != beside.stat().st_size:
                    raise DataError(
                        f"the file has {size:,} bytes, and {beside.stat().st_size:,} of them were fetched",
                        where=shown,
                        next_step="run again; if it fails again, check the server",
                    )
                version = version or files.sha256(beside)[:16]
                files.remove_tree(folder)  # older versions
                (folder / version).mkdir(parents=True)
                files.commit_file(beside, folder / version / base)
            finally:
                beside.unlink(missing_ok=True)
        keys = file_names.keys(PurePosixPath(_below(path, root)).parts[:-1])
        return FoundFile(folder / version / base, shown, keys)

    def _checked(self) -> tuple[str, dict[str, Any]]:
        given = {"url": self.given} if isinstance(self.given, str) else self.given
        if (
            not isinstance(given, dict)
            or not {"url"} <= set(given) <= {"url", "options"}
            or not isinstance(given["url"], str)
            or not isinstance(given.get("options", {}), dict)
        ):
            raise ConfigError(
                "a source of kind remote needs a URL, or the keys `url` and `options`",
                where="config key data.source",
                next_step="write it like data: {source: {remote: {url: 's3://bucket/rides/', options: {anon: true}}}}",
            )
        return given["url"], given.get("options", {})


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(
        f"a source of kind remote needs a package that is not installed: {error}",
        where="config key data.source",
        next_step="install it with: pip install 'noria[remote]'",
    )


def _below(path: str, root: str) -> str:
    """A path relative to the root of a listing: to its folder, or to what comes before the first sign of a glob."""
    fixed = re.split(r"[*?\[]", root)[0]
    fixed = root.rstrip("/") + "/" if fixed == root else fixed[: fixed.rfind("/") + 1]
    return path.removeprefix(fixed) if path.startswith(fixed) else posixpath.basename(path)


def _user(url: str) -> str | None:
    return url.partition("://")[2].rpartition("@")[0] or None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
