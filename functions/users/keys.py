"""Publishes the keys that tokens are verified with: GET /.well-known/jwks.json (RFC 7517)."""

from __future__ import annotations

import hashlib
import os

from fastapi import Request, Response

from functions import etags
from functions.app import operation

app = operation(__name__)


@app.get("/.well-known/jwks.json")
async def keys(request: Request) -> Response:
    """The public keys, to anybody; may be kept for five minutes."""
    body = os.environ["TOKEN_KEYS"].encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "public, max-age=300"}
    if etags.is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/jwk-set+json")
