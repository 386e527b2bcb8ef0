"""What Knative would refuse is refused, with the file, the line, the field and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from knative.runtime.kustomize import Document, ManifestErrors, build
from knative.runtime.manifests import load


def service(**changed: Any) -> dict[str, Any]:
    """A Service that is accepted, with parts of its container or spec changed."""
    container = {"image": "dev.local/x", "command": ["python", "-m", "x"], **changed.pop("container", {})}
    spec = {"containers": [container], **changed.pop("spec", {})}
    annotations = changed.pop("annotations", {})
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "hello", **changed.pop("metadata", {})},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}, **changed},
    }


def broker(**spec: Any) -> dict[str, Any]:
    """A Broker."""
    metadata = {"name": "default"}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": metadata, "spec": spec}


def trigger(**spec: Any) -> dict[str, Any]:
    """A Trigger that is accepted."""
    subscriber = {"ref": {"kind": "Service", "name": "hello", "apiVersion": "serving.knative.dev/v1"}}
    metadata = {"name": "t"}
    body = {"broker": "default", "subscriber": subscriber, **spec}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": metadata, "spec": body}


def ping(**spec: Any) -> dict[str, Any]:
    """A PingSource that is accepted."""
    body = {"schedule": "* * * * *", "sink": {"ref": {"kind": "Broker", "name": "default"}}, **spec}
    return {"apiVersion": "sources.knative.dev/v1", "kind": "PingSource", "metadata": {"name": "p"}, "spec": body}


def refused(folder: Path, *documents: dict[str, Any]) -> list[str]:
    """What is wrong with these documents."""
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]")
    try:
        load(folder)
    except ManifestErrors as errors:
        return [f"{error.field}: {error.reason}" for error in errors.errors]
    return []


AUTOSCALING = "autoscaling.knative.dev"
CONTAINER = "spec.template.spec.containers[0]"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (service(metadata={"name": "Hello"}), "metadata.name"),
        (service(metadata={"name": "1hello"}), "metadata.name"),
        (
            service(metadata={"annotations": {f"{AUTOSCALING}/window": "10s"}}),
            f"metadata.annotations.{AUTOSCALING}/window",
        ),
        (service(annotations={f"{AUTOSCALING}/window": "5s"}), "window"),
        (service(annotations={f"{AUTOSCALING}/window": "2h"}), "window"),
        (service(annotations={f"{AUTOSCALING}/initial-scale": "0"}), "initial-scale"),
        (service(annotations={f"{AUTOSCALING}/activation-scale": "1"}), "activation-scale"),
        (service(annotations={f"{AUTOSCALING}/target": "0"}), "target"),
        (service(annotations={f"{AUTOSCALING}/min-scale": "-1"}), "min-scale"),
        (service(annotations={f"{AUTOSCALING}/min-scale": "3", f"{AUTOSCALING}/max-scale": "2"}), "max-scale"),
        (service(annotations={f"{AUTOSCALING}/minScale": "-1"}), "minScale"),
        (service(annotations={f"{AUTOSCALING}/min-scal": "1"}), "min-scal"),
        (service(annotations={f"{AUTOSCALING}/metric": "requests"}), "metric"),
        (service(annotations={f"{AUTOSCALING}/max-scale": 3}), "max-scale"),
        (service(container={"env": [{"name": "PORT", "value": "1"}]}), f"{CONTAINER}.env[0].name"),
        (service(container={"env": [{"name": "K_SERVICE", "value": "1"}]}), f"{CONTAINER}.env[0].name"),
        (service(container={"name": "queue-proxy"}), f"{CONTAINER}.name"),
        (service(container={"image": ""}), f"{CONTAINER}.image"),
        (service(container={"ports": [{"containerPort": 8012}]}), f"{CONTAINER}.ports[0].containerPort"),
        (service(container={"ports": [{"containerPort": 80, "name": "grpc"}]}), f"{CONTAINER}.ports[0].name"),
        (service(container={"ports": [{"containerPort": 80}, {"containerPort": 81}]}), f"{CONTAINER}.ports"),
        (service(container={"ports": [{"containerPort": 80, "protocol": "UDP"}]}), f"{CONTAINER}.ports[0].protocol"),
        (service(container={"ports": [{"containerPort": 80, "hostPort": 80}]}), f"{CONTAINER}.ports[0].hostPort"),
        (service(container={"lifecycle": {}}), f"{CONTAINER}.lifecycle"),
        (service(container={"stdin": True}), f"{CONTAINER}.stdin"),
        (service(container={"readinessProbe": {"periodSeconds": 1}}), f"{CONTAINER}.readinessProbe"),
        (service(container={"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}), "capabilities.add"),
        (service(container={"comand": ["x"]}), f"{CONTAINER}.comand"),
        (service(spec={"timeoutSeconds": 601}), "spec.template.spec.timeoutSeconds"),
        (service(spec={"timeoutSeconds": "5m"}), "spec.template.spec.timeoutSeconds"),
        (service(spec={"restartPolicy": "Always"}), "spec.template.spec.restartPolicy"),
        (service(spec={"terminationGracePeriodSeconds": 30}), "spec.template.spec.terminationGracePeriodSeconds"),
        (service(spec={"nodeSelector": {"a": "b"}}), "spec.template.spec.nodeSelector"),
        (service(spec={"securityContext": {}}), "spec.template.spec.securityContext"),
        (service(spec={"initContainers": []}), "spec.template.spec.initContainers"),
        (service(spec={"containers": []}), "spec.template.spec.containers"),
        (service(spec={"containerConcurrency": 1001}), "spec.template.spec.containerConcurrency"),
        (service(spec={"responseStartTimeoutSeconds": -1}), "spec.template.spec.responseStartTimeoutSeconds"),
        (service(spec={"idleTimeoutSeconds": "1s"}), "spec.template.spec.idleTimeoutSeconds"),
        (service(traffic=[{"percent": 90}]), "spec.traffic"),
        (service(traffic=[{"percent": 101}]), "spec.traffic[0].percent"),
        (service(traffic=[{"percent": 100, "revisionName": "a", "latestRevision": True}]), "spec.traffic[0]"),
        (service(traffic=[{"percent": 100, "latestRevision": False}]), "spec.traffic[0]"),
        (service(traffic=[{"percent": 100, "tag": "A"}]), "spec.traffic[0].tag"),
        (
            service(traffic=[{"percent": 50, "tag": "a"}, {"percent": 50, "tag": "a"}]),
            "spec.traffic[1].tag",
        ),
        (service(traffic=[{"percent": 100, "url": "http://x"}]), "spec.traffic[0].url"),
        (service(traffic=[{"percent": 100, "configurationName": "x"}]), "spec.traffic[0].configurationName"),
        (broker(delivery={"retry": -1}), "spec.delivery.retry"),
        (broker(delivery={"backoffDelay": "200ms"}), "spec.delivery.backoffDelay"),
        (broker(delivery={"backoffPolicy": "Linear"}), "spec.delivery.backoffPolicy"),
        (broker(delivery={"retryAfterMax": "PT5S"}), "spec.delivery.retryAfterMax"),
        (trigger(broker=""), "spec.broker"),
        (trigger(subscriber={}), "spec.subscriber"),
        (trigger(subscriber={"uri": "orders-place"}), "spec.subscriber"),
        (trigger(subscriber={"ref": {"kind": "Service", "name": "hello"}, "uri": "http://x/"}), "spec.subscriber.uri"),
        (trigger(subscriber={"ref": {"kind": "KafkaChannel", "name": "c"}}), "spec.subscriber.ref.kind"),
        (trigger(filters=[{"exact": {"Type": "x"}}]), "spec.filters"),
        (trigger(filters=[{"exact": {"type": "x"}, "prefix": {"type": "x"}}]), "spec.filters"),
        (trigger(filters=[{"cesql": "type LIKE type"}]), "spec.filters"),
        (ping(schedule="@every 1m"), "spec.schedule"),
        (ping(schedule="61 * * * *"), "spec.schedule"),
        (ping(schedule="often"), "spec.schedule"),
        (ping(data="{", contentType="application/json"), "spec.data"),
        (ping(data="1", dataBase64="MQ=="), "spec.data"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": 1}}, "data.a"),
        ({"apiVersion": "sources.knative.dev/v1", "kind": "ApiServerSource", "metadata": {"name": "a"}}, "kind"),
        ({"apiVersion": "serving.knative.dev/v1beta1", "kind": "Service", "metadata": {"name": "a"}}, "kind"),
    ],
)
def test_it_is_refused_by_the_name_of_its_field(tmp_path: Path, document: dict[str, Any], field: str) -> None:
    """At start, before anything runs."""
    assert any(field in problem for problem in refused(tmp_path, document))


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        ([trigger(), service()], "there is no Broker default"),
        ([trigger(), broker()], "there is no Service default/hello"),
        ([ping()], "there is no Broker default/default"),
        ([service(container={"envFrom": [{"configMapRef": {"name": "c"}}]})], "there is no ConfigMap c"),
        (
            [service(container={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]})],
            "there is no Secret s",
        ),
        ([service(), service()], "there are two of this Service"),
        ([service(container={"imge": "x"})], "did you mean image?"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(tmp_path: Path, documents: list[Any], reason: str) -> None:
    """By what is missing; a misspelt field with what was probably meant."""
    assert any(reason in problem for problem in refused(tmp_path, *documents))


def test_the_message_says_file_line_field_and_reason(tmp_path: Path) -> None:
    """So that an editor can jump there."""
    (tmp_path / "place.yaml").write_text(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: default\n"
        "spec:\n  delivery:\n    retry: x\n"
    )
    (tmp_path / "kustomization.yaml").write_text("resources: [place.yaml]")
    with pytest.raises(ManifestErrors) as refused_:
        load(tmp_path)

    assert str(refused_.value.errors[0]).endswith(
        "place.yaml:7: spec.delivery.retry: delivery.retry is a whole number, 0 or more"
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"kustomization.yaml": "resources: [none.yaml]"}, "there is no file none.yaml"),
        ({"kustomization.yaml": "resource: []"}, "did you mean resources?"),
        ({"kustomization.yaml": "resources: [a.yaml]", "a.yaml": "a: [1"}, "this is not YAML"),
        ({"kustomization.yaml": "resources: [a.yaml]", "a.yaml": "a: 1\na: 2"}, "this stands here twice"),
        ({"kustomization.yaml": "resources: [a.yaml]", "a.yaml": "- 1"}, "a document is an object"),
        ({}, "there is no such file"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    """A missing file, a typing error, a name that stands twice."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ManifestErrors, match=reason.replace("?", r"\?")):
        build(tmp_path)


def test_patches_labels_images_and_namespace_are_applied(tmp_path: Path) -> None:
    """As kubectl kustomize would: by name, merged, list items by their names; JSON 6902 too."""
    (tmp_path / "a.yaml").write_text(
        yaml.safe_dump(service(container={"name": "c", "env": [{"name": "A", "value": "1"}]}))
    )
    patch = {
        "kind": "Service",
        "metadata": {"name": "hello"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "B", "value": "2"}]}]}}},
    }
    operation = [{"op": "add", "path": "/spec/template/spec/timeoutSeconds", "value": 5}]
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": ["a.yaml"],
                "namespace": "shop",
                "labels": [{"pairs": {"team": "orders"}}],
                "images": [{"name": "dev.local/x", "newName": "registry/x", "newTag": "1"}],
                "patches": [
                    {"patch": yaml.safe_dump(patch)},
                    {"patch": yaml.safe_dump(operation), "target": {"kind": "Service"}},
                ],
            }
        )
    )
    (document,) = build(tmp_path)
    spec = document.body["spec"]["template"]["spec"]

    assert isinstance(document, Document)
    assert (document.namespace, document.body["metadata"]["labels"]) == ("shop", {"team": "orders"})
    assert spec["timeoutSeconds"] == 5
    assert spec["containers"][0]["image"] == "registry/x:1"
    assert [one["name"] for one in spec["containers"][0]["env"]] == ["A", "B"]


def test_a_file_of_a_base_that_nobody_listed_is_included_and_reported(tmp_path: Path) -> None:
    """A new function is live at once; a cluster would not get it, and that is said."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "kustomization.yaml").write_text("resources: []")
    (base / "new.yaml").write_text(yaml.safe_dump(service()))
    (tmp_path / "kustomization.yaml").write_text("resources: [base]")
    platform = load(tmp_path)

    assert list(platform.services) == [("default", "hello")]
    assert [path.name for path in platform.unlisted] == ["new.yaml"]
