"""Any gRPC client: grpcio, grpclib and our own pass the same tests, directly and through the runtime's Envoy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functions.conftest import bearer
from tests.functions.rpc.clients import Failed, client
from tests.functions.rpc.conftest import Gateway, Served, ServeEcho
from tests.functions.rpc.echo import REFUSALS

MEBIBYTE = 1024 * 1024


@dataclass
class Pair:
    """A client and the service that it calls."""

    client: Any
    served: Served


@pytest.fixture(params=["direct", "envoy"])
async def place(request: pytest.FixtureRequest, serve_echo: ServeEcho, gateway: Gateway) -> tuple[Served, int, int]:
    """The service; where outsiders and where functions find it."""
    if request.param == "direct":
        served = await serve_echo()
        return served, served.port, served.port
    return await serve_echo(gateway.behind), gateway.public, gateway.internal


@pytest.fixture(params=["grpcio", "grpclib", "ours"])
async def pair(request: pytest.FixtureRequest, place: tuple[Served, int, int]) -> AsyncIterator[Pair]:
    """One of the clients, connected."""
    served, outside, inside = place
    ours = request.param == "ours"
    authority = "users-rpc.shop.svc.cluster.local" if ours else "users-rpc.shop.localhost"
    async with client(request.param, inside if ours else outside, authority, bearer("ada")) as made:
        yield Pair(made, served)


class TestAnyClient:
    """What works with every one of them, on both ways."""

    async def test_a_call_and_its_metadata_go_both_ways(self, pair: Pair) -> None:
        """What is said beside the message comes back before and behind the answer, text and bytes."""
        answer = await pair.client.once("hello", say="something")

        assert answer.text == "hello"
        assert (answer.first["first"], answer.first["who"]) == ("something", "ada")
        assert (answer.last["last"], answer.last["last-bin"]) == ("something", b"something")

    async def test_streams_go_both_ways(self, pair: Pair) -> None:
        """From the server, to it, and both at once, each message once and in order."""
        texts = [str(number) for number in range(50)]

        assert await pair.client.many(300) == [str(number) for number in range(300)]
        assert await pair.client.total(texts) == "".join(texts)
        assert await pair.client.each(texts) == texts
        assert await pair.client.many(0) == []

    async def test_a_long_message_goes_both_ways(self, pair: Pair) -> None:
        """Through every window, there and back."""
        text = "x" * (3 * MEBIBYTE)

        assert (await pair.client.once(text)).text == text

    async def test_a_message_that_is_too_long_is_refused(self, pair: Pair) -> None:
        """RESOURCE_EXHAUSTED, and the next call is answered."""
        with pytest.raises(Failed) as failed:
            await pair.client.once("x" * (5 * MEBIBYTE))

        assert failed.value.status == "RESOURCE_EXHAUSTED"
        assert (await pair.client.once("x")).text == "x"

    async def test_the_deadline_ends_the_handler_too(self, pair: Pair) -> None:
        """DEADLINE_EXCEEDED there, a cancelled handler here."""
        with pytest.raises((Failed, TimeoutError)) as failed:
            await pair.client.call("Wait", "", within=0.2)
        await asyncio.wait_for(pair.served.echo.cancelled.wait(), 5)

        assert isinstance(failed.value, TimeoutError) or failed.value.status == "DEADLINE_EXCEEDED"

    async def test_a_call_that_is_broken_off_ends_its_handler(self, pair: Pair) -> None:
        """Which is really cancelled."""
        call = asyncio.create_task(pair.client.call("Wait", ""))
        await asyncio.wait_for(pair.served.echo.waiting.wait(), 5)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call

        await asyncio.wait_for(pair.served.echo.cancelled.wait(), 5)

    async def test_an_unknown_method_is_unimplemented(self, pair: Pair) -> None:
        """As gRPC has it."""
        with pytest.raises(Failed) as failed:
            await pair.client.call("Nothing", "")

        assert failed.value.status == "UNIMPLEMENTED"

    async def test_a_packed_message_is_unpacked(self, pair: Pair) -> None:
        """With gzip."""
        assert await pair.client.compressed("hello " * 1000) == "hello " * 1000

    @pytest.mark.parametrize("status", sorted(REFUSALS))
    async def test_a_refusal_has_its_status_and_details(self, pair: Pair, status: str) -> None:
        """The sentence for people, the reason and the fields for programs."""
        refusal = REFUSALS[status]
        with pytest.raises(Failed) as failed:
            await pair.client.call("Fail", status)

        details = failed.value.details
        assert (failed.value.status, failed.value.message) == (status, refusal.detail)
        assert details["ErrorInfo"].metadata["title"] == refusal.title
        if status == "INVALID_ARGUMENT":
            (violation,) = details["BadRequest"].field_violations
            assert (violation.field, violation.description) == ("name", "is too long")
        if status == "UNAVAILABLE":
            assert details["RetryInfo"].retry_delay.seconds == 7

    async def test_a_bug_says_nothing_of_itself(self, pair: Pair) -> None:
        """INTERNAL."""
        with pytest.raises(Failed) as failed:
            await pair.client.call("Fail", "a secret")

        assert failed.value.status == "INTERNAL"
        assert "secret" not in failed.value.message
