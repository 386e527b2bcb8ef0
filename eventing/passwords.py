"""Passwords that everybody knows: a placeholder that nobody replaced, one that is in every tutorial. Pure."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

# What the examples of docs/guides/deploy.md hold.
PLACEHOLDER = "change-me"
_KNOWN = frozenset({"", "admin", "changeme", "guest", "password", "postgres", "secret", "wake"})
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def is_known(secret: str) -> bool:
    """Whether it is no secret."""
    return PLACEHOLDER in secret or secret.strip().lower() in _KNOWN


def is_open(url: str) -> bool:
    """Whether a server elsewhere has such a password; one that asks for none goes by certificates or addresses."""
    where = urlsplit(url)
    if where.password is None or where.hostname in _HERE:
        return PLACEHOLDER in url
    password = unquote(where.password)
    return is_known(password) or password == where.username
