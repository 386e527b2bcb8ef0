"""`wake parity`: asks one installation, or two, and says where the answers differ."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from knative.runtime.api import ApiFailed, admin
from knative.runtime.parity import grpc, record
from knative.runtime.parity.difference import differences
from knative.runtime.parity.installation import Installation, Wishes, all_of, opened
from knative.runtime.parity.normal import Told
from knative.runtime.parity.printable import printable
from knative.runtime.parity.probes import is_admin, is_wake
from knative.runtime.parity.record import NotARecord
from knative.runtime.parity.report import Report, Result
from knative.runtime.parity.scenario import Book, NoValue, Scenario
from knative.runtime.parity.target import Target, Unusable, headers_of, token_of
from knative.runtime.state import State

_AT_ONCE = 12
Records = dict[str, list[Told]]


def parity(options: argparse.Namespace, state: State, root: Path) -> int:
    """Compare; answers the exit code: 0 the same, 1 different, 2 not usable."""
    book = Book.read()
    try:
        scenarios = book.chosen(options.scenario, options.without)
        if options.list:
            print("\n".join(f"{one.name:<20}{one.about}" for one in scenarios))
            return 0
        targets, wishes = _asked(options, state)
        expected = None if options.record or len(targets) > 1 else record.read(options.against or record.LAPTOPS)
        report = Report(options, targets)
        there = asyncio.run(_asked_all(targets, wishes, root / book.descriptors, scenarios, expected, report))
        if options.record:
            record.write(options.record, {one.name: one.told for one in report.results if one.told})
    except NoValue as error:
        return _unusable(f"there is no scenario {error}: --list lists them")
    except (Unusable, NotARecord, ApiFailed) as error:
        return _unusable(str(error))
    return report.finish(there)


def _unusable(why: str) -> int:
    print(f"wake: {printable(why)}", file=sys.stderr)
    return 2


def _asked(options: argparse.Namespace, state: State) -> tuple[list[Target], list[Wishes]]:
    """Each installation, and what may be done there.

    Raises:
        Unusable: something that was typed makes no sense, or nothing runs here.
    """
    if options.reference and (options.against or options.record):
        raise Unusable("two URLs are compared with each other: --against and --record take one")
    if options.against and options.record:
        raise Unusable("--record compares nothing: give --against another time")
    if options.read_only and options.card_token:
        raise Unusable("--card-token pays, and --read-only writes nothing: give one")
    urls = [one for one in (options.url, options.reference) if one] or [_here(state)]
    targets, wishes = [], []
    for at, url in enumerate(urls):
        host = _nth(options.host_header, at)
        headers = headers_of(file) if (file := _nth(options.header_file, at)) else {}
        targets.append(
            Target.at(url, host_header=host or "", headers=headers, insecure=options.insecure, timeout=options.timeout)
        )
        token = (
            token_of(file) if (file := _nth(options.token_file, at)) else "" if options.url else _own_token(state, url)
        )
        wishes.append(Wishes(options.read_only, options.card_token, token, options.patience))
    return targets, wishes


def _nth(given: Sequence[Any], at: int) -> Any:
    return given[at] if at < len(given) else None


def _here(state: State) -> str:
    if (status := state.status()) is None:
        raise Unusable(f"nothing runs on {state.folder}: give a URL, or start it with `make up`")
    return str(status["url"])


def _own_token(state: State, url: str) -> str:
    """An admin's, by the password that this machine's Wake made."""
    client = admin(state, url, None, None)
    client.ask("GET", "/deadletters/?limit=1")
    return client.token


async def _asked_all(
    targets: Sequence[Target],
    wishes: Sequence[Wishes],
    descriptors: Path,
    scenarios: tuple[Scenario, ...],
    expected: Records | None,
    report: Report,
) -> list[Installation]:
    """Ask every installation, and report each scenario in its turn; answers the installations, left as they are now."""
    pool = grpc.contract(descriptors)
    async with contextlib.AsyncExitStack() as stack:
        there = [await stack.enter_async_context(opened(*one, pool)) for one in zip(targets, wishes, strict=True)]
        await all_of(_ready(one, scenarios) for one in there)
        turn = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_result(one, there, expected, turn)) for one in scenarios]
            for one in asked:
                report.add(await one)
    return there


async def _ready(one: Installation, scenarios: tuple[Scenario, ...]) -> None:
    await is_wake(one.caller)
    if one.wishes.admin_token:
        await is_admin(one.caller, one.wishes.admin_token)
    await one.prepare(scenarios)


async def _result(
    scenario: Scenario, there: Sequence[Installation], expected: Records | None, turn: asyncio.Semaphore
) -> Result:
    """What came of one scenario."""
    if reason := next(filter(None, (one.lacks(scenario) for one in there)), ""):
        return Result(scenario, left_out=reason)
    if expected is not None and scenario.name not in expected:
        return Result(scenario, left_out="the record does not have it")
    async with turn:
        began = time.monotonic()
        told, *reference = await asyncio.gather(*(one.told(scenario) for one in there))
        seconds = time.monotonic() - began
    before = reference[0] if reference else told if expected is None else expected[scenario.name]
    return Result(scenario, tuple(differences(before, told)), seconds, told=told)
