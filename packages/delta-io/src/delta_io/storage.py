"""Where a table lives and the options its storage needs: one source for the log and the data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow.fs as pa_fs
from deltalake.fs import DeltaStorageHandler

from delta_io.errors import OptionError, UnsupportedError

_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNUSABLE: Final = re.compile(r"[\[\]\\^|\x00-\x1f\x7f]")
_FILE: Final = "file://"
# Azure has a container where others have a user, who may have a password.
_USER: Final = re.compile(
    r"""(?P<scheme>\w+)://(?P<container>(?:(?<=\babfs://)|(?<=\babfss://))[^/\s@'":]+(?=@))?[^/\s@'"]*@"""
)
_PLAIN_OPTIONS: Final = frozenset(
    [
        "allow_http",
        "aws_allow_http",
        "aws_conditional_put",
        "aws_default_region",
        "aws_endpoint",
        "aws_endpoint_url",
        "aws_region",
        "aws_s3_allow_unsafe_rename",
        "aws_virtual_hosted_style_request",
        "azure_container_name",
        "azure_endpoint",
        "azure_storage_account_name",
        "azure_storage_endpoint",
        "azure_use_emulator",
        "bucket",
        "connect_timeout",
        "endpoint",
        "endpoint_url",
        "google_bucket",
        "google_bucket_name",
        "max_retries",
        "region",
        "timeout",
    ]
)
MASK: Final = "***"


class StorageOptions(Mapping[str, str]):
    """Options for the storage, whose values never show in a representation.

    Parameters
    ----------
    options : Mapping[str, str], optional
        As deltalake and object_store take them, such as ``AWS_REGION``.

    Examples
    --------
    >>> options = StorageOptions({"AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "eu-west-1"})
    >>> options
    StorageOptions({'AWS_REGION': 'eu-west-1', 'AWS_SECRET_ACCESS_KEY': '***'})
    >>> options["AWS_SECRET_ACCESS_KEY"]
    'hunter2'
    """

    __slots__ = ("_options",)

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        given = dict(options or {})
        for key, value in given.items():
            if not isinstance(key, str) or not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers may be untyped
                raise OptionError(
                    f"storage option {key!r} is not text",
                    f"its value is a {type(value).__name__}",
                    "Give strings.",
                )
        self._options = given

    def __getitem__(self, key: str) -> str:
        return self._options[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        shown = {
            key: value if key.lower() in _PLAIN_OPTIONS else MASK
            for key, value in sorted(self._options.items())
        }
        return f"StorageOptions({shown!r})"

    def __hash__(self) -> int:
        return hash(frozenset(self._options.items()))

    def redact(self, text: str) -> str:
        """Return a text with every secret value masked.

        Parameters
        ----------
        text : str
            Any text, such as the message of an error.

        Returns
        -------
        str
            The text without values that may be secret, and without passwords or query strings of URIs.
        """
        secrets = (value for key, value in self._options.items() if key.lower() not in _PLAIN_OPTIONS)
        for value in sorted(secrets, key=len, reverse=True):
            if len(value) > 3:
                text = text.replace(value, MASK)
        return redact_uris(text)


def redact_uris(text: str) -> str:
    """Return a text in which no URI shows a password or a query string."""
    text = _USER.sub(lambda found: found[0] if found["container"] else f"{found['scheme']}://{MASK}@", text)
    return re.sub(r"(\w://[^\s?'\"]+)\?[^\s'\"]+", rf"\1?{MASK}", text)


class Location:
    """The place of a table: what people see, what deltalake is given, and a file system rooted there."""

    def __init__(self, uri: str | os.PathLike[str], options: Mapping[str, str] | None = None) -> None:
        text = _text(uri)
        self.options = options if isinstance(options, StorageOptions) else StorageOptions(options)
        self.local = "://" not in text or text.startswith(_FILE)
        self.uri, self.root = _local(text) if self.local else _remote(text, self.options)

    @property
    def shown(self) -> str:
        """The place, without secrets."""
        return self.options.redact(self.uri)

    @property
    def name(self) -> str:
        """The last part of the place."""
        return unquote(urlsplit(self.uri).path.rpartition("/")[2]) if not self.local else Path(self.uri).name

    @property
    def plain_options(self) -> dict[str, str] | None:
        """The options as deltalake takes them."""
        return dict(self.options) or None

    @cached_property
    def filesystem(self) -> pa_fs.FileSystem:
        """A file system whose root is the table's folder, over the same storage and options as the log."""
        return pa_fs.PyFileSystem(DeltaStorageHandler(self.root, self.plain_options))

    def __repr__(self) -> str:
        return f"Location({self.shown!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and (self.root, self.options) == (other.root, other.options)

    def __hash__(self) -> int:
        return hash(self.root)


def _text(uri: object) -> str:
    if not isinstance(uri, (str, os.PathLike)) or not isinstance(text := os.fspath(uri), str):
        raise OptionError("the table has no place", f"it is a {type(uri).__name__}", "Give a path or a URI.")
    if not text:
        raise OptionError("the table has no place", "its path is empty", "Give a path or a URI.")
    return _FILE + text.removeprefix("file:") if re.match(r"file:/(?!/)", text) else text


def _local(text: str) -> tuple[str, str]:
    path = text
    if text.startswith(_FILE):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise OptionError(
                f"{text!r} is no local file",
                "a file URI has no host, query or fragment",
                "Write file:///path, with special characters percent-encoded.",
            )
        path = unquote(parts.path)
    absolute = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 -- resolves "..", leaves symbolic links alone
    if _ESCAPE.search(absolute):
        # deltalake decodes such a path twice and then looks in, or writes to, another folder.
        raise UnsupportedError(
            f"{absolute!r} cannot hold a table",
            "its path contains what looks like a percent-escape",
            "Rename the folder.",
        )
    _check_characters(absolute, absolute)
    return absolute, Path(absolute).as_uri()


def _remote(text: str, options: StorageOptions) -> tuple[str, str]:
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        # deltalake leaves both out, and would look in, or write to, another place.
        raise UnsupportedError(
            f"{options.redact(text.partition('#')[0])!r} cannot hold a table",
            "its URI has a query or a fragment",
            "Percent-encode ? and #, and give keys and tokens as storage options.",
        )
    _check_characters(text, options.redact(text))
    uri = urlunsplit(parts._replace(path=parts.path.rstrip("/")))
    return uri, uri


def _check_characters(text: str, shown: str) -> None:
    found = _UNUSABLE.search(text)
    if found is not None:
        # deltalake creates a table there and then cannot write it, or takes a backslash for a slash.
        raise UnsupportedError(
            f"{shown!r} cannot hold a table", f"its path contains {found[0]!r}", "Rename the folder."
        )
