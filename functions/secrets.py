"""Refuses secrets that everybody knows, before a function starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eventing.passwords import is_known, is_open

# TOKEN_KEYS is none, but its placeholder would have a function run that refuses everybody.
_SECRETS = ("ADMIN_PASSWORD", "STRIPE_API_KEY", "TOKEN_KEYS", "TOKEN_SIGNING_KEY", "WEBHOOK_SECRET")


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
            if any(map(is_known, secrets or [""])):
                yield name
        elif (name.endswith("DATABASE_URL") or name == "CACHE_URL") and is_open(value):
            yield name
