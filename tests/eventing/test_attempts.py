"""What a Broker tells a dead letter sink of its attempts."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from eventing.attempts import Attempt, Histories, decode, encode
from eventing.event import Event
from eventing.gate import receive

TIMES = st.integers(0, 4 * 10**12).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))
ATTEMPTS = st.lists(
    st.builds(Attempt, st.integers(1, 2**31 - 1), TIMES, st.integers(0, 599), st.text(max_size=300)), max_size=40
)


@given(ATTEMPTS)
def test_what_was_told_is_understood(attempts: list[Attempt]) -> None:
    """Numbers, times to the millisecond and codes, of the first few and the last; never longer than an attribute."""
    text = encode(attempts)
    told = () if text is None else decode(text)
    kept = attempts if len(attempts) <= 12 else [*attempts[:2], *attempts[-10:]]

    assert len((text or "").encode()) <= 1024
    assert [(one.number, one.status) for one in told] == [(one.number, one.status) for one in kept]
    assert all(
        abs((one.at - two.at).total_seconds()) < 0.001 and two.answer.startswith(one.answer)
        for one, two in zip(told, kept, strict=True)
    )


def test_an_answer_that_repeats_is_told_once() -> None:
    """Eleven attempts with the same long answer leave room for it."""
    now = datetime.now(UTC)
    told = decode(encode([Attempt(number, now, 503, "x" * 200) for number in range(1, 12)]) or "")

    assert {one.answer for one in told} == {"x" * 200}


@given(ATTEMPTS)
def test_the_gate_takes_the_attribute(attempts: list[Attempt]) -> None:
    """Whatever a subscriber answered, the dead letter is a valid event."""
    text = encode(attempts)
    headers = {"ce-id": "1", "ce-source": "/a", "ce-type": "t", "ce-specversion": "1.0"}
    if text is not None:
        headers["ce-wakeattempts"] = text.replace("%", "%25").replace('"', "%22")

    event = receive([(name.encode(), value.encode()) for name, value in headers.items()], b"")
    assert event.extensions.get("wakeattempts") == text


@given(
    st.text()
    | st.sampled_from(["[[1]]", "{}", '[["1","x",2,null]]', "[[1,null,1,1]]", '[[-1,"2026-01-01T00:00Z",1,""]]'])
)
def test_what_no_broker_wrote_tells_nothing(text: str) -> None:
    """Anybody can send an event with this attribute."""
    assert decode(text) == ()


def test_only_so_many_histories_are_kept() -> None:
    """The oldest are forgotten first, and a settled event at once."""
    histories = Histories()
    events = [Event(id=str(number), source="/a", type="t") for number in range(1001)]
    for event in events:
        histories.note(event, 1, 503, "away")
    histories.forget(events[1])

    assert [len(histories.of(events[number])) for number in (0, 1, 2, 1000)] == [0, 0, 1, 1]
