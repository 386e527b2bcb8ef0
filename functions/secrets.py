"""Refuses secrets that everybody knows: a placeholder that nobody replaced, a password that is in every tutorial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

# What the examples of docs/guides/deploy.md hold.
PLACEHOLDER = "change-me"
_KNOWN = frozenset({"", "admin", "changeme", "password", "postgres", "secret", "wake"})
_SECRETS = ("ADMIN_PASSWORD", "STRIPE_API_KEY", "TOKEN_SIGNING_KEY", "WEBHOOK_SECRET")
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class KnownSecret(Exception):
    """A secret that is no secret; the message names its variable and never its value."""


def require_own(environ: Mapping[str, str]) -> None:
    """Let nothing start with a secret that is not its owner's.

    Raises:
        KnownSecret: there is one; the message names every one.
    """
    known = sorted(_known(environ))
    if known:
        raise KnownSecret(
            f"{', '.join(known)}: this is a placeholder or a password that everybody knows; "
            "put one of your own into the Secret that it comes from"
        )


def _known(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if name in _SECRETS:
            # A webhook's secret that is being replaced stands beside its successor.
            secrets = value.split() if name == "WEBHOOK_SECRET" else [value]
            if any(map(_is_known, secrets or [""])):
                yield name
        elif name.endswith("DATABASE_URL") and _is_open(value):
            yield name


def _is_known(value: str) -> bool:
    return PLACEHOLDER in value or value.strip().lower() in _KNOWN


def _is_open(url: str) -> bool:
    """Whether a database elsewhere has such a password; one that asks for none goes by certificates or addresses."""
    where = urlsplit(url)
    if where.password is None or where.hostname in _HERE:
        return PLACEHOLDER in url
    password = unquote(where.password)
    return _is_known(password) or password == where.username
