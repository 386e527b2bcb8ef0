"""orders-list."""

from __future__ import annotations

from typing import Any

from tests.functions.conftest import bearer

ORDER = {"amount": "1.00", "currency": "EUR", "payment_token": "tok_approve"}


async def test_everybody_sees_their_own_the_newest_first(serve: Any) -> None:
    """A customer's list is theirs; an admin's is everybody's, or one user's."""
    place = await serve("orders.place")
    placed = {}
    for name in ("ada", "eve", "ada"):
        answer = await place.client.post("/orders/", json=ORDER, headers=bearer(name))
        placed.setdefault(name, []).insert(0, answer.json()["order_id"])
    served = await serve("orders.list")

    async def listed(path: str, headers: dict[str, str]) -> list[str]:
        return [one["order_id"] for one in (await served.client.get(path, headers=headers)).json()["items"]]

    admin = bearer("root", "admin")
    assert await listed("/orders/", bearer("ada")) == placed["ada"]
    assert len(await listed("/orders/", admin)) == 3
    assert await listed("/orders/?username=eve", admin) == placed["eve"]


async def test_pages_follow_each_other(serve: Any) -> None:
    """`next` leads to the older ones until there are none."""
    place = await serve("orders.place")
    for _ in range(3):
        await place.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    served = await serve("orders.list")
    first = (await served.client.get("/orders/?limit=2", headers=bearer("ada"))).json()
    second = (await served.client.get(first["next"], headers=bearer("ada"))).json()

    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)


async def test_another_s_list_is_forbidden(serve: Any) -> None:
    """403, and a wrong cursor is a 404 rather than a 500."""
    served = await serve("orders.list")

    assert (await served.client.get("/orders/?username=eve", headers=bearer("ada"))).status_code == 403
    assert (await served.client.get("/orders/?after=x", headers=bearer("ada"))).status_code == 404
