"""Objects of remote storage: put where nothing is, as commits are, and copied by the store itself.

deltalake's file system does neither, and its commits are those of its own operations.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, UnknownConfigurationKeyError
from obstore.store import from_url

from delta_io._threads import in_threads
from delta_io.errors import OptionError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore.store import ObjectStore

    from delta_io.storage import Location

_OF_STORES: Final = ("aws_", "azure_", "google_")
_OF_CLIENTS: Final = frozenset(
    [
        "allow_http",
        "allow_invalid_certificates",
        "connect_timeout",
        "default_content_type",
        "http1_only",
        "http2_keep_alive_interval",
        "http2_keep_alive_timeout",
        "http2_keep_alive_while_idle",
        "http2_max_frame_size",
        "http2_only",
        "pool_idle_timeout",
        "pool_max_idle_per_host",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "randomize_addresses",
        "timeout",
        "user_agent",
    ]
)
_ALIASES: Final = {
    "access_key": "account_key",
    "endpoint_url": "endpoint",
    "master_key": "account_key",
    "session_token": "token",
}
_OF_PLACES: Final = frozenset(["bucket", "bucket_name", "container_name"])
_AT_ONCE: Final = 16
_UNKNOWN: Final = re.compile(r"Configuration key: '([^']+)'")
_SPAN: Final = re.compile(r"(\d+)\s*(ns|us|ms|s|sec|m|min|h|hr)?")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "m": 60.0, "min": 60.0, "h": 3600.0, "hr": 3600.0}
_NO_CONDITIONS: Final = re.compile(r"status code: 501\b|NotImplemented|not yet implemented")


def why_not(location: Location) -> str | None:
    """Return why commits cannot be made by putting an object where nothing is, or None."""
    if not location.uri.startswith(("s3://", "s3a://")):
        return None
    set_ = _settings(location)
    if set_.get("aws_s3_locking_provider"):
        return "its commits go through a lock table"
    if (set_.get("aws_conditional_put") or set_.get("conditional_put") or "").lower() == "disabled":
        return "conditional puts are switched off"
    return None


def check_commits(location: Location, what: str) -> None:
    """Refuse what only a commit made here can do where none can be made."""
    why = None if location.local else why_not(location)
    if why is not None:
        raise _refused(what, why)


def put_new(location: Location, path: str, data: bytes) -> bool:
    """Put an object below the table's folder where nothing is; tell whether it was.

    Its contents have to be unlike those of any other: an object that holds them is the one that was put,
    by an attempt whose answer was lost.
    """
    store = _open(location)
    try:
        obstore.put(store, path, data, mode="create", use_multipart=False)
    except AlreadyExistsError:
        return _holds(store, path, data)
    except (BaseError, NotImplementedError) as error:
        if _NO_CONDITIONS.search(str(error)):
            raise _refused(f"committing to {location.shown!r}", "it knows no conditional puts") from None
        if not _holds(store, path, data):
            raise
    return True


def same_store(one: Location, other: Location) -> bool:
    """Tell whether objects of both places are in one bucket or container."""
    return _origin(one).replace("s3a:", "s3:") == _origin(other).replace("s3a:", "s3:")


def copy_within(source: Location, target: Location, paths: Sequence[str]) -> None:
    """Have a store copy objects below one folder to another, by the keys of the target."""
    whole = _open(target, _origin(target))
    old, new = (unquote(urlsplit(each.root).path).strip("/") for each in (source, target))

    def copy(path: str) -> None:
        obstore.copy(whole, f"{old}/{path}".lstrip("/"), f"{new}/{path}".lstrip("/"))

    in_threads(copy, paths, _AT_ONCE)


def _origin(location: Location) -> str:
    parts = urlsplit(location.root)
    return f"{parts.scheme}://{parts.netloc}"


def _holds(store: ObjectStore, path: str, data: bytes) -> bool:
    try:
        return bytes(obstore.get(store, path).bytes()) == data
    except (BaseError, FileNotFoundError):
        return False  # the error that led here tells what is wrong


def _refused(what: str, why: str) -> UnsupportedError:
    return UnsupportedError(what, why, "Use storage with conditional puts, or another engine.")


def _settings(location: Location) -> dict[str, str]:
    """Return the options by their names in small letters, and what the environment says of the others."""
    variables = {name.lower(): text for name, text in os.environ.items()}
    own = {name: text for name, text in variables.items() if name.startswith(_OF_STORES)}
    return own | {name.lower(): text for name, text in location.options.items()}


def _open(location: Location, root: str | None = None) -> ObjectStore:
    """Open a store at the table's folder, or at a root; keys of the environment are its own to read."""
    client = {"allow_http": "true"} if location.uri.startswith("gs://") else {}
    client |= {key: text for name, text in _settings(location).items() if (key := _bare(name)) in _OF_CLIENTS}
    given = {name.lower(): text for name, text in location.options.items()}
    config = _of_store(given)
    retry = _retrying(given)
    while True:
        try:
            how: dict[str, Any] = {"config": config, "client_options": client, "retry_config": retry}
            return from_url(root or location.root, **how)
        except UnknownConfigurationKeyError as error:  # an option that only deltalake has
            found = _UNKNOWN.search(str(error))
            if found is None or config.pop(found[1], None) is None:
                raise


def _of_store(options: dict[str, str]) -> dict[str, str]:
    """Return the options of the store itself, each under one of its names; the place says which bucket."""
    named: dict[str, str] = {}
    for name in sorted(options, key=lambda name: name.startswith(_OF_STORES)):  # whole names last: they hold
        bare = _bare(name)
        named[_ALIASES.get(bare, bare)] = name
    return {name: options[name] for bare, name in named.items() if bare not in {*_OF_CLIENTS, *_OF_PLACES}}


def _bare(name: str) -> str:
    name = name.lower()
    bare = next((name.removeprefix(each) for each in _OF_STORES if name.startswith(each)), name)
    return bare.removeprefix("storage_")


def _retrying(options: dict[str, str]) -> dict[str, Any]:
    """Return the options for repeating requests."""
    retry: dict[str, Any] = {}
    if "max_retries" in options:
        retry["max_retries"] = int(options["max_retries"])
    if "retry_timeout" in options:
        retry["retry_timeout"] = _span("retry_timeout", options["retry_timeout"])
    return retry


def _span(name: str, text: str) -> timedelta:
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text).strip():
        raise OptionError(f"storage option {name!r} is no span of time", f"it is {text!r}", "Write 30s.")
    return timedelta(seconds=sum(int(count) * _SECONDS.get(unit, 1.0) for count, unit in parts))
