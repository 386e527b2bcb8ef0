"""EventTypes: admitted as Knative does, listed by `wake eventtypes`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.catalogue import payloads
from knative.runtime import eventtypes, fidelity
from knative.runtime.kustomize import collect
from knative.runtime.manifests import load
from tests.checks.manifests import OVERLAY
from tests.knative.runtime.test_admission import broker, refused, service, trigger


def event_type(attributes: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    """An EventType that is accepted."""
    values = {"specversion": None, "id": None, "type": "a.b.v1", "source": "/a"}
    given = [
        {"name": name, "required": True, **({} if value is None else {"value": value})}
        for name, value in values.items()
    ]
    reference = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}
    return {
        "apiVersion": "eventing.knative.dev/v1beta3",
        "kind": "EventType",
        "metadata": {"name": "a.b.v1"},
        "spec": {"reference": reference, "attributes": given if attributes is None else attributes, **spec},
    }


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (event_type(), ""),
        (event_type(reference=None), ""),
        (
            event_type([{"name": "type", "value": "a"}]),
            "spec.attributes: an EventType says which id, source, specversion",
        ),
        (
            event_type([{"name": "type", "value": 1}]),
            "spec.attributes[0]: an attribute has a name, and its value is text",
        ),
        (
            event_type([{"name": "type", "required": "yes"}]),
            "spec.attributes[0].required: this has to be true or false",
        ),
        (event_type(descripton="x"), "spec.descripton: there is no such field; did you mean description?"),
        (event_type(reference={"kind": "Broker", "name": "other"}), "spec.reference: there is no Broker default/other"),
        (event_type() | {"apiVersion": "eventing.knative.dev/v1beta2"}, "write it as eventing.knative.dev/v1beta3"),
    ],
)
def test_what_knative_refuses_is_refused(tmp_path: Path, document: dict[str, Any], problem: str) -> None:
    """A reference that leads nowhere too, which Knative would only say in its status."""
    found = "\n".join(refused(tmp_path, broker(), document))

    assert problem in found
    assert bool(problem) == bool(found)


def test_a_type_names_its_emitters_and_the_triggers_of_its_broker(tmp_path: Path) -> None:
    """By the filters; a Trigger of another Broker never sees it."""
    told = event_type(description="Something.") | {
        "metadata": {"name": "a.b.v1", "annotations": {"wake.dev/emitted-by": "one, two"}}
    }
    other = broker() | {"metadata": {"name": "other"}}
    elsewhere = trigger(broker="other") | {"metadata": {"name": "elsewhere"}}
    documents = [service(), broker(), other, trigger(filters=[{"prefix": {"type": "a."}}]), elsewhere, told]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(documents))

    assert list(eventtypes.lines(load(tmp_path / "all.yaml"))) == [
        "a.b.v1",
        "    Something.",
        "    emitted by  one, two",
        "    wakes       t",
    ]


def test_wake_eventtypes_lists_the_catalogue() -> None:
    """Without anything running."""
    wake = Path(sys.executable).parent / "wake"
    done = subprocess.run([wake, "eventtypes", "--json"], capture_output=True, text=True, check=True)
    listed = {one["type"]: one for one in json.loads(done.stdout)}

    assert set(listed) == set(payloads())
    placed = listed["orders.placed.v1"]
    assert placed["description"] == "An order was accepted and waits for its payment."
    assert (placed["source"], placed["broker"]) == ("/wake/orders", "shop/default")
    assert "orders-place" in placed["emitted_by"]
    assert "payments-charge" in placed["triggers"]


def test_explain_says_what_becomes_of_each_field() -> None:
    """Honoured, as documentation is."""
    report = fidelity.in_use(collect(OVERLAY))["eventing.knative.dev/v1beta3 EventType"]

    assert {line.fidelity for line in report} == {"honoured"}
    assert {line.field for line in report} >= {"spec.description", "spec.reference.name", "spec.attributes[].value"}
