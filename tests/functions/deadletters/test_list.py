"""deadletters-list and -show: who may see what."""

from __future__ import annotations

from typing import Any

from tests.functions.conftest import bearer
from tests.functions.deadletters.conftest import ADMIN, CAPTURED, NOBODY, Workbench, captured

FILTERS = [
    ("", 3),
    ("?type=payments.captured.v1", 2),
    ("?subject=o-7", 1),
    ("?destination=orders-confirm", 1),
    ("?destination=http://orders-confirm.shop.svc.cluster.local", 1),
    ("?state=kept", 2),
    ("?state=discarded", 1),
    ("?state=kept&type=orders.placed.v1", 0),
    ("?since=2026-01-01T00:00:00Z", 3),
    ("?since=2126-01-01T00:00:00Z", 0),
]


async def test_filters_find(workbench: Workbench) -> None:
    """By type, subject, destination, state and time, together."""
    await workbench.failed(captured(subject="o-7"), "http://elsewhere.shop.svc.cluster.local/")
    await workbench.failed(captured(), "http://orders-confirm.shop.svc.cluster.local")
    gone = await workbench.failed(captured(type="orders.placed.v1"), "http://elsewhere.shop.svc.cluster.local/")
    await workbench.post("discards", {"id": gone, "reason": "a test"})

    assert [(query, len(await workbench.listed(query))) for query, _ in FILTERS] == FILTERS


async def test_pages_go_by_key_and_keep_their_filter(workbench: Workbench) -> None:
    """Following `next` shows each once, the newest first, also when another is kept meanwhile."""
    for _ in range(5):
        await workbench.failed(captured())
    await workbench.failed(captured(type="x"))
    seen, path = [], "/deadletters/?limit=2&type=payments.captured.v1"
    while path:
        body = (await workbench.functions["list"].client.get(path, headers=ADMIN)).json()
        seen += [one["id"] for one in body["items"]]
        path = body["next"]
        await workbench.failed(captured())

    assert len(seen) == 5
    assert seen == sorted(set(seen), reverse=True)


async def test_a_filter_that_is_none_is_refused(workbench: Workbench) -> None:
    """422 that names the parameter."""
    for query in ("since=yesterday", "since=2026-01-01T00:00:00", "state=lost", "limit=0"):
        answer = await workbench.functions["list"].client.get(f"/deadletters/?{query}", headers=ADMIN)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])


ASKED: list[tuple[str, str, str, Any]] = [
    ("GET", "", "list", None),
    ("GET", NOBODY, "show", None),
    ("PATCH", NOBODY, "edit", {"data": 1, "reason": "x"}),
    ("POST", "discards", "discard", {"id": NOBODY, "reason": "x"}),
    ("POST", "dry-runs", "dry_run", {"id": NOBODY}),
    ("POST", "redrives", "redrive", {"all": True}),
]


async def test_only_an_admin_may(workbench: Workbench) -> None:
    """403 to a customer, 401 to nobody, and a problem document either way."""
    for method, path, name, body in ASKED:
        client = workbench.functions[name].client
        for who, status in ((bearer("ada"), 403), ({}, 401)):
            answer = await client.request(method, f"/deadletters/{path}", json=body, headers=who)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_what_is_not_there_is_a_404(workbench: Workbench) -> None:
    """Also what is no id."""
    for letter in ("x", NOBODY):
        shown = await workbench.functions["show"].client.get(f"/deadletters/{letter}", headers=ADMIN)
        edited = await workbench.edit(letter, {"data": 1, "reason": "x"})
        assert (shown.status_code, edited.status_code) == (404, 404)


async def test_it_says_how_the_data_breaks_its_schema(workbench: Workbench) -> None:
    """Each violation with its path, what is missing, and what nobody reads."""
    data = b'{"order_id": "' + CAPTURED.order_id.encode() + b'", "amount": 99.5, "curency": "EUR"}'
    shown = await workbench.shown(await workbench.failed(captured(data=data)))

    assert shown["schema_differences"] == {
        "known": True,
        "violations": [
            {"path": "amount", "message": "Input should be a valid string"},
            {"path": "currency", "message": "Field required"},
        ],
        "missing": ["currency"],
        "unknown": ["curency"],
    }
