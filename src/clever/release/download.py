"""Read files of a release from a folder or over HTTPS, with a bound on their size."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

from clever.errors import UserError
from clever.files import expanded
from clever.parsing import reason, require_regular

TIMEOUT_SECONDS = 30.0
"""Longest wait in seconds for a connection, and for the next bytes."""

_CHUNK = 1 << 20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Place:
    """Location of a release: a local folder, or the address of the folder that holds its files.

    Args:
        text: a folder, ``file:///…`` or ``https://…``; ``http://`` only on this machine. It may also be the path or
            address of the manifest.
        manifest: name of the manifest's file.

    Raises:
        UserError: another scheme, an address without a host, or an unknown home folder.
    """

    def __init__(self, text: str, manifest: str) -> None:
        parts = _parts(text)
        if parts.scheme in ("", "file"):
            path = expanded(unquote(parts.path) if parts.scheme else text)
            self._folder: Path | None = path.parent if path.suffix == ".json" else path
            self._base = ""
            return
        if parts.scheme not in ("https", "http"):
            raise UserError(f"{text}: a release is read from a folder, file:// or https://, not {parts.scheme}://")
        if not parts.hostname:
            raise UserError(f"{text}: has no host; an address looks like https://host/folder")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise UserError(f"{text}: http:// can be changed on its way; use https://")
        path = parts.path.removesuffix(f"/{manifest}") if parts.path.endswith(".json") else parts.path
        self._folder, self._base = None, f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}"

    def where(self, name: str) -> str:
        """Path or address of a file, for messages."""
        return f"{self._base}/{quote(name)}" if self._folder is None else str(self._folder / name)

    def read(self, name: str, limit: int) -> Iterator[bytes]:
        """The content of a file, in pieces.

        Args:
            name: name of a file in the release.
            limit: largest number of bytes to read.

        Raises:
            UserError: the file is missing, unreachable or larger than ``limit``, or the address leads to another
                scheme.
        """
        where, read = self.where(name), 0
        with _one_line(where), self._open(name) as stream:
            while piece := stream.read(_CHUNK):
                read += len(piece)
                if read > limit:
                    raise UserError(f"{where}: is larger than the {limit:,} bytes that it may have")
                yield piece
            missing = getattr(stream, "length", None)  # of an HTTP response: the number of bytes still to come
            if missing:
                raise UserError(f"{where}: the transfer broke off, {missing:,} bytes are missing; fetch it again")

    def _open(self, name: str) -> IO[bytes]:
        if self._folder is not None:
            require_regular(self._folder / name)
            return (self._folder / name).open("rb")
        stream: IO[bytes] = _opener().open(self.where(name), timeout=TIMEOUT_SECONDS)
        return stream


def _parts(text: str) -> Any:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for a port that is not a number
    except ValueError as error:
        raise UserError(f"{text}: is not an address ({error})") from error
    return parts


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follow only redirects that keep the scheme, because content after a redirect from https to http could be tampered
    with."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != req.type:
            raise UserError(f"{req.full_url}: redirects from {req.type}:// to {scheme}://, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener for HTTP and HTTPS only; a proxy is taken from the environment."""
    opener = urllib.request.OpenerDirector()
    handlers: tuple[Callable[[], urllib.request.BaseHandler], ...] = (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _SameScheme,
    )
    for handler in handlers:
        opener.add_handler(handler())
    return opener


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    """Turn the exceptions of a file or a connection into one line."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise UserError(f"{where}: the server answers {error.code} ({error.reason})") from error
    except urllib.error.URLError as error:
        cause = error.reason if isinstance(error.reason, Exception) else error
        kind = "its certificate is not valid" if isinstance(cause, ssl.SSLError) else "cannot be reached"
        raise UserError(f"{where}: {kind} ({reason(cause)})") from error
    except http.client.InvalidURL as error:
        raise UserError(f"{where}: is not, or leads to, a valid address ({reason(error)})") from error
    except http.client.HTTPException as error:
        raise UserError(f"{where}: the transfer broke off ({reason(error) or type(error).__name__})") from error
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({reason(error)})") from error
