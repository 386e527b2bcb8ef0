"""Calls Wake's own API, for the commands that work through it: here and on a cluster the same."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from knative.runtime.state import State

_PATIENCE_SECONDS = 60.0
# The admin of knative/overlays/local/secrets.yaml.
_ADMIN, _ADMIN_SECRET = "admin", "shop/users-admin"


class ApiFailed(Exception):
    """A call was not answered as it should be; the message has the answer."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer and how long it took, in milliseconds."""

    status: int
    body: dict[str, Any]
    start: str
    duration_ms: float
    etag: str


class Client:
    """One keep-alive connection to the API."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        if not where.hostname:
            raise ApiFailed(f"{url} is no URL such as https://shop.example.com")
        self._connection = kind(str(where.hostname), where.port, timeout=_PATIENCE_SECONDS)
        self._url, self._prefix = url, where.path.rstrip("/")
        self.token = ""

    def call(self, method: str, path: str, body: Mapping[str, Any] | str | None = None, if_match: str = "") -> Answer:
        """Send one request; a mapping goes as JSON, a string as a form."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if if_match:
            headers["if-match"] = if_match
        if isinstance(body, str):
            headers["content-type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            headers["content-type"], body = "application/json", json.dumps(body)
        began = time.perf_counter()
        try:
            self._connection.request(method, self._prefix + path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ApiFailed(f"{self._url} does not answer {method} {path}: {error or type(error).__name__}") from error
        duration_ms = (time.perf_counter() - began) * 1000
        try:
            parsed = json.loads(content) if content else {}
        except ValueError:
            parsed = {"detail": content.decode(errors="replace")}
        found = re.search(r'desc="?(cold|warm)', response.headers.get("server-timing", ""))
        etag = response.headers.get("etag", "")
        return Answer(response.status, parsed, found[1] if found else "", duration_ms, etag)


class Admin(Client):
    """A client that is an admin: by a token it was given, or by the password that this machine's Wake made."""

    def __init__(self, url: str, token: str, password: str | None) -> None:
        super().__init__(url)
        self.token = token
        self._password = password

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, if_match: str = "") -> Answer:
        """Send one request that has to be answered 2xx.

        Raises:
            ApiFailed: it was not; the message is the problem's detail.
        """
        if not self.token:
            self._sign_in()
        answer = self.call(method, path, body, if_match)
        if answer.status == 401 and self._password is not None:
            # A token lasts for ten minutes, and some of what is done here takes longer.
            self._sign_in()
            answer = self.call(method, path, body, if_match)
        if not 200 <= answer.status < 300:
            raise ApiFailed(_sentence(answer))
        return answer

    def _sign_in(self) -> None:
        self.token = ""
        form = urlencode({"grant_type": "password", "username": _ADMIN, "password": self._password or ""})
        answer = self.call("POST", "/tokens", form)
        if answer.status != 200:
            raise ApiFailed(f"signing in as {_ADMIN} was answered {answer.status}: {_sentence(answer)}")
        self.token = answer.body["access_token"]


def admin(state: State, running_url: str, url: str | None, token_file: Path | None) -> Admin:
    """An admin of the installation at *url*, or of the one that runs here.

    Raises:
        ApiFailed: there is no token and no password to get one with.
    """
    if token_file is not None:
        try:
            return Admin(url or running_url, token_file.read_text().strip(), None)
        except OSError as error:
            raise ApiFailed(f"{token_file}: {error.strerror}") from error
    if url is not None:
        raise ApiFailed("another installation needs an admin's token: --token-file FILE (POST /tokens gives one)")
    try:
        secrets = json.loads(state.secrets.read_text())
        return Admin(running_url, "", secrets[_ADMIN_SECRET]["password"])
    except (OSError, ValueError, KeyError) as error:
        raise ApiFailed(f"{state.secrets} has no password of an admin: give a token with --token-file FILE") from error


def _sentence(answer: Answer) -> str:
    """A problem document as one sentence, with the fields it names."""
    detail = str(answer.body.get("detail") or f"it was answered {answer.status}")
    errors = answer.body.get("errors") or []
    return "; ".join([detail.rstrip("."), *(f"{one['field']}: {one['message']}" for one in errors)])
