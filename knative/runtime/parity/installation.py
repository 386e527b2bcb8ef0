"""One installation under comparison: who may be asked there, what it lacks, and what it answers to a scenario."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool

from knative.runtime.parity import grpc, pointers
from knative.runtime.parity.caller import Caller, NoAnswer
from knative.runtime.parity.normal import Own, Seen, Told, normalised
from knative.runtime.parity.probes import whose_cards
from knative.runtime.parity.scenario import ADMIN, GRPC, NoValue, Scenario, Step
from knative.runtime.parity.target import Target, Unusable

_GET_USER = Step("probe", f"{GRPC} wake.users.v1.UsersService/GetUser", json={"username": "nobody"})
_REGISTER = "POST /users/"
_PAUSE_SECONDS, _PAUSE_SECONDS_MAX = 0.05, 1.0


@dataclass(frozen=True)
class Wishes:
    """What the operator allows and gives. `patience` is in seconds: how long a step is asked again until it is so."""

    read_only: bool = False
    card_token: str = ""
    admin_token: str = ""
    patience: float = 60.0


@dataclass
class Installation:
    """What is known of it; `opened` makes one."""

    target: Target
    wishes: Wishes
    caller: Caller
    grpc: grpc.GrpcCaller
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    cards: str = ""
    without_grpc: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    registered: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def user(self) -> str:
        """What the names of this run's customers begin with."""
        return f"parity-{self.run}"

    def lacks(self, scenario: Scenario) -> str:
        """Why a scenario is left out here, in one sentence; empty where it is not."""
        if self.wishes.read_only and not scenario.is_safe:
            return "it writes (--read-only)"
        if ADMIN in scenario.people and not self.wishes.admin_token:
            return "it needs an admin: --token-file FILE"
        if scenario.cards and self.cards != "simulator" and not (scenario.cards == "any" and self.wishes.card_token):
            return f"{self.cards}: --card-token TOKEN has one order placed, paid by that card, and refunded"
        return self.without_grpc if scenario.uses_grpc else ""

    async def prepare(self, scenarios: tuple[Scenario, ...]) -> None:
        """Find out what it has; then register who takes part.

        Raises:
            Unusable: a customer cannot be registered or signed in.
        """
        if any(one.uses_grpc for one in scenarios):
            self.without_grpc = await grpc.why_not(self.target, self.grpc, _GET_USER)
        if any(one.cards for one in scenarios) and not self.wishes.read_only:
            self.cards = await whose_cards(self.caller)
        people = {name for one in scenarios if not self.lacks(one) for name in one.people}
        if ADMIN in people:
            self.tokens[ADMIN] = self.wishes.admin_token
        await all_of(self._join(name) for name in sorted(people - {ADMIN}))

    async def _join(self, name: str) -> None:
        username = f"{self.user}-{name}"
        form = {"grant_type": "password", "username": username, "password": self.password}
        body = {"username": username, "email": f"{name}@example.com", "password": self.password}
        await self._expected(201, Step("register", _REGISTER, json=body))
        self.registered.append(username)
        signed_in = await self._expected(200, Step("sign in", "POST /tokens", form=form))
        self.tokens[name] = str(signed_in.body.get("access_token"))

    async def _expected(self, status: int, step: Step) -> Seen:
        try:
            seen = await self.caller.answer(step)
        except NoAnswer as error:
            raise Unusable(f"{step.request}: {error.why}") from error
        if seen.status != status or not isinstance(seen.body, Mapping):
            raise Unusable(
                f"no customer can be made there: {step.request} was answered {seen.status}: {_detail(seen.body)}"
            )
        return seen

    async def leave(self) -> None:
        """Deactivate the customers of this run; their orders stay."""
        await all_of(self._leave(username) for username in self.registered)

    async def _leave(self, username: str) -> None:
        form = {"grant_type": "password", "username": username, "password": self.password}
        try:
            # Once more: a token lasts for ten minutes, and not everybody came as far as to have one.
            signed_in = await self._expected(200, Step("sign in", "POST /tokens", form=form))
            step = Step("leave", f"DELETE /users/{username}")
            left = await self.caller.answer(step, str(signed_in.body.get("access_token")))
        except (NoAnswer, Unusable):
            left = None
        if left is None or left.status != 204:
            self.left_behind.append(username)

    async def told(self, scenario: Scenario) -> list[Told]:
        """What it answers to a scenario's steps, up to the one that cannot be asked."""
        values = {
            "run": self.run,
            "user": self.user,
            "password": self.password,
            "card_token": "tok_approve" if self.cards == "simulator" else self.wishes.card_token,
        }
        seen = []
        for step in scenario.steps:
            try:
                answer = await self._answered(step.filled(values), self.tokens.get(step.who, ""))
            except NoValue:
                break
            except NoAnswer as error:
                answer = Seen(step, "no answer", {}, error.why)
            self._note(answer)
            seen.append(Seen(step, answer.status, answer.headers, answer.body))
            values |= dict(_saved(step, answer))
        return normalised(seen, Own(self.target.origin, self.target.prefix, self.run))

    def _note(self, answer: Seen) -> None:
        """Remember who registered in a scenario, until they have left."""
        step = answer.step
        if step.request == _REGISTER and answer.status == 201:
            self.registered.append(step.json["username"])
        elif step.method == "DELETE" and answer.status == 204:
            left = step.path.rpartition("/")[2]
            self.registered = [one for one in self.registered if one != left]

    async def _answered(self, step: Step, token: str) -> Seen:
        ask = self.grpc.answer if step.method == GRPC else self.caller.answer
        answer = await ask(step, token)
        deadline, pause = time.monotonic() + self.wishes.patience, _PAUSE_SECONDS
        while not _is_so(answer.body, step.until) and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _PAUSE_SECONDS_MAX)
            answer = await ask(step, token)
        return answer


@contextlib.asynccontextmanager
async def opened(target: Target, wishes: Wishes, pool: DescriptorPool) -> AsyncIterator[Installation]:
    """A client of an installation; whoever it registers is deactivated in the end, also where that comes early."""
    async with Caller(target) as caller, grpc.opened(target, pool) as over_grpc:
        made = Installation(target, wishes, caller, over_grpc)
        try:
            yield made
        finally:
            await made.leave()


async def all_of(work: Iterable[Awaitable[None]]) -> None:
    """Wait for the end of all of it; then raise what went wrong first, if anything did."""
    for error in await asyncio.gather(*work, return_exceptions=True):
        if error is not None:
            raise error


def _is_so(body: Any, until: Mapping[str, Any]) -> bool:
    """Whether each pointer leads somewhere, and all that it leads to is the value, or one of the list."""
    for pointer, wanted in until.items():
        values = list(pointers.found(body, pointers.parts(pointer)))
        if not values or any(one not in (wanted if isinstance(wanted, list) else [wanted]) for one in values):
            return False
    return True


def _saved(step: Step, seen: Seen) -> Iterator[tuple[str, str]]:
    for name, where in step.save.items():
        if where.startswith("header "):
            yield from ((name, value) for value in [seen.headers.get(where.removeprefix("header "))] if value)
        else:
            yield from ((name, str(value)) for value in pointers.found(seen.body, pointers.parts(where)))


def _detail(body: Any) -> str:
    return str(body.get("detail", body) if isinstance(body, dict) else body)[:200]
