"""Texts and places without what must not be told."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from df_runtime._lexer import is_opaque, tokens

_LITERALS: Final = frozenset({"string", "number"})


@lru_cache(maxsize=1024)
def redacted(query: str) -> str | None:
    """Write a query with `?` for its literals and without its comments.

    None where strings may hide behind something that is not modelled.
    """
    if is_opaque(query):
        return None
    told: list[str] = []
    end = 0
    for token in tokens(query):
        if told and token.start > end:
            told.append(" ")
        told.append("?" if token.kind in _LITERALS else token.text)
        end = token.start + len(token.text)
    return "".join(told)


@lru_cache(maxsize=1024)
def fingerprint(query: str) -> str:
    """Hash the shape of a query: equal for texts that differ in literals, comments and white space."""
    return hashlib.sha256((redacted(query) or query).encode(errors="surrogatepass")).hexdigest()


def place(uri: str) -> str:
    """Return a URI without user, password, query and fragment, where keys may stand."""
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.partition("://")[0] + "://"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
