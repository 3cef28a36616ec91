"""A server that keeps objects in memory and speaks what Azure Blob Storage and Google Cloud Storage do.

Of both interfaces, what reading and writing a table takes: put, also only where nothing is, copy, get, also
of a range, head, delete, and lists by prefix and delimiter, a few entries at a time.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

ACCOUNT = "devstoreaccount1"
_PAGE = 3
_TIME = "2026-01-02T03:04:05.000Z"


@contextmanager
def running() -> Generator[str]:
    """Run a server while the block does; its address."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


class _Objects:
    """The application; buckets and containers come into being with their first object."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode().lstrip("/")
        azure = path.startswith(f"{ACCOUNT}/")
        key = path.removeprefix(f"{ACCOUNT}/")
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        method = environ["REQUEST_METHOD"]
        if method == "GET" and ("list-type" in query or query.get("comp") == "list"):
            status, headers, body = 200, {"Content-Type": "application/xml"}, self._list(key, query, azure)
        elif method == "PUT" and "comp" not in query:
            status, headers, body = self._put(key, environ)
        elif method == "DELETE":
            self._objects.pop(key, None)
            status, headers, body = (202 if azure else 204), {}, b""
        elif method in ("GET", "HEAD"):
            status, headers, body = self._get(key, environ)
        else:
            status, headers, body = 501, {}, b""
        start_response(f"{status} -", [*headers.items(), ("Content-Length", str(len(body)))])
        return [body if method != "HEAD" else b""]

    def _put(self, key: str, environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        source = environ.get("HTTP_X_MS_COPY_SOURCE") or environ.get("HTTP_X_GOOG_COPY_SOURCE")
        if source is not None:
            body = self._objects[unquote(urlsplit(source).path).lstrip("/").removeprefix(f"{ACCOUNT}/")]
        if key in self._objects and environ.get("HTTP_IF_NONE_MATCH") == "*":
            return 409, {"x-ms-error-code": "BlobAlreadyExists"}, b""
        if key in self._objects and environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH") == "0":
            return 412, {}, b""
        self._objects[key] = body
        return 201 if "HTTP_X_MS_BLOB_TYPE" in environ else 200, _described(body), b""

    def _get(self, key: str, environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        body = self._objects.get(key)
        if body is None:
            return 404, {}, b""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", environ.get("HTTP_RANGE", ""))
        if asked is None:
            return 200, _described(body), body
        first, last = asked.groups()
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last) + 1, len(body)) if first and last else len(body)
        shown = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
        return 206, _described(body) | shown, body[start:end]

    def _list(self, bucket: str, query: dict[str, str], azure: bool) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = query.get("marker" if azure else "continuation-token") or query.get("start-after", "")
        found: dict[str, bytes | None] = {}
        for key, body in sorted(self._objects.items()):
            name = key.removeprefix(f"{bucket.rstrip('/')}/")
            if name == key or not name.startswith(prefix):
                continue
            folder, cut, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
            found[f"{prefix}{folder}{cut}" if cut else name] = None if cut else body
        least = query.get("startFrom", "")  # of Azure, which takes it with what follows
        left = [(name, body) for name, body in found.items() if name > after and name >= least]
        more = left[_PAGE - 1][0] if len(left) > _PAGE else ""
        write = _azure_list if azure else _google_list
        return write(left[:_PAGE], more).encode()


def _described(body: bytes) -> dict[str, str]:
    etag = hashlib.sha256(body).hexdigest()[:16]
    return {"ETag": f'"{etag}"', "Last-Modified": formatdate(1767323045, usegmt=True)}


def _azure_list(found: list[tuple[str, bytes | None]], more: str) -> str:
    entries = "".join(
        f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"
        if body is None
        else f"<Blob><Name>{escape(name)}</Name><Properties>"
        f"<Last-Modified>{_described(body)['Last-Modified']}</Last-Modified>"
        f"<Content-Length>{len(body)}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
        f"<Etag>{_described(body)['ETag']}</Etag></Properties></Blob>"
        for name, body in found
    )
    marker = f"<NextMarker>{escape(more)}</NextMarker>"
    return f"<EnumerationResults><Blobs>{entries}</Blobs>{marker}</EnumerationResults>"


def _google_list(found: list[tuple[str, bytes | None]], more: str) -> str:
    entries = "".join(
        f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        if body is None
        else f"<Contents><Key>{escape(name)}</Key><Size>{len(body)}</Size>"
        f"<LastModified>{_TIME}</LastModified><ETag>{_described(body)['ETag']}</ETag></Contents>"
        for name, body in found
    )
    token = f"<NextContinuationToken>{escape(more)}</NextContinuationToken>" if more else ""
    return f"<ListBucketResult>{entries}{token}</ListBucketResult>"


def _serve() -> None:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, _Objects(), threaded=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    _serve()
