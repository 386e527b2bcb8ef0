"""Wake's own YAML: what `make check` looks at, as tests."""

from __future__ import annotations

from knative.runtime.manifests import load
from tests.checks import manifests
from tests.checks.traffic import emitters


def test_the_manifests_and_the_code_say_the_same() -> None:
    """Each operation has its Service, file and tests; each Trigger an event, each event a reader."""
    assert list(manifests.problems()) == []


def test_what_is_woken_by_events_cannot_be_called_from_outside() -> None:
    """A forged event would be an order for nothing."""
    platform = load(manifests.OVERLAY)
    woken = {trigger.subscriber.name for trigger in platform.triggers} | {
        source.sink.name for source in platform.ping_sources
    }

    assert woken
    assert all(platform.services["shop", str(name)].cluster_local for name in woken)


def test_every_function_that_records_events_has_the_broker_as_its_sink() -> None:
    """K_SINK comes from the SinkBinding, by label; the outbox functions publish what others recorded."""
    platform = load(manifests.OVERLAY)
    emitting = {function for by in emitters().values() for function in by} | {"outbox-relay", "outbox-sweep"}

    assert {name for (_, name), one in platform.services.items() if one.sink is not None} == emitting
