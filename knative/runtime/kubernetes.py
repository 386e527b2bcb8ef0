"""The same YAML for a cluster without Knative: what `wake render --kubernetes` prints. Pure.

A Service becomes a Deployment, a Service and a HorizontalPodAutoscaler, a PingSource a CronJob; Brokers and Triggers
are served by our own Broker, and the HTTPRoutes by a plain Envoy (an Ingress cannot tell GET from POST). Nothing sleeps
at zero here: without an activator nobody would wake it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from eventing import ping
from knative.runtime import addresses, environment, manifests, plain_envoy
from knative.runtime.kustomize import Document
from knative.runtime.resources import PingSource, Platform, Service

BROKER = "broker"
_BROKER_PORT = 8080
# From when a pod is told to end until nobody sends it new requests.
_LEAVE_SECONDS = 5
# A finished Job cannot be applied again with another image: it goes after an hour.
_JOB_SECONDS = 3600
_CPU_PERCENT = 70
_ONLY_KNATIVE = ("timeoutSeconds", "containerConcurrency", "responseStartTimeoutSeconds", "idleTimeoutSeconds")
# What every container says too; Knative takes it from containers only.
_POD = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
}
_CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


class NotRenderable(Exception):
    """Something that plain Kubernetes has no equivalent of."""


def render(documents: Iterable[Document]) -> list[dict[str, Any]]:
    """Every object, in the order in which a cluster wants them; Secrets are left to whoever owns the cluster.

    Raises:
        ManifestErrors: the YAML is not as it should be.
        NotRenderable: it has something that plain Kubernetes has no equivalent of.
    """
    documents = list(documents)
    platform = manifests.platform(documents)
    namespaces = sorted({namespace for namespace, _ in platform.services})
    (namespace,) = namespaces if len(namespaces) == 1 else ("",)
    if not namespace:
        raise NotRenderable(f"one namespace can be rendered, not {', '.join(namespaces) or 'none'}")
    if platform.messaging or platform.container_sources:
        raise NotRenderable("Channels, Subscriptions and ContainerSources have no equivalent on plain Kubernetes")
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        *(dict(one.body) for one in documents if one.kind == "ConfigMap" and one.namespace == namespace),
        *(_job(one) for one in documents if one.kind == "Job"),
        *_broker(platform, namespace),
        *(one for key in sorted(platform.services) for one in _of_service(platform.services[key])),
        *(_cron_job(one, platform) for one in platform.ping_sources),
        *plain_envoy.objects(platform, namespace),
        _ingress(namespace),
    ]


def _job(document: Document) -> dict[str, Any]:
    body = dict(document.body)
    return {**body, "spec": {**body["spec"], "ttlSecondsAfterFinished": _JOB_SECONDS}}


def _ingress_url(namespace: str) -> str:
    return f"http://{BROKER}.{namespace}.{addresses.CLUSTER_DOMAIN}"


def _of_service(service: Service) -> Iterator[dict[str, Any]]:
    if any(target.revision or target.tag for target in service.traffic):
        raise NotRenderable(
            f"Service {service.name}: a Deployment has no revisions that traffic could be split between"
        )
    metadata = {"name": service.name, "namespace": service.namespace, "labels": _labels(service)}
    port = (service.template["spec"]["containers"][0].get("ports") or [{}])[0].get("containerPort", 8080)
    pod = {name: value for name, value in service.template["spec"].items() if name not in _ONLY_KNATIVE}
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": _selector(service.name)},
            "template": {
                "metadata": {"labels": _labels(service)},
                "spec": {
                    **_POD,
                    # As on Knative: a request that was begun may take as long as any.
                    "terminationGracePeriodSeconds": service.timeout_seconds + _LEAVE_SECONDS,
                    **pod,
                    "containers": [_container(service, pod["containers"][0], port)],
                },
            },
        },
    }
    spoken = {"name": "h2c", "appProtocol": "kubernetes.io/h2c"} if service.protocol == "h2c" else {"name": "http"}
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": _selector(service.name), "ports": [{**spoken, "port": 80, "targetPort": port}]},
    }
    yield _autoscaler(service, metadata)


def _selector(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _labels(service: Service) -> dict[str, str]:
    own = {name: value for name, value in service.labels.items() if "knative.dev" not in name}
    # Knative's own label of a Service's pods: what selects them there selects them here.
    known = {"app.kubernetes.io/part-of": "wake", "serving.knative.dev/service": service.name}
    return {**own, **_selector(service.name), **known}


def _container(service: Service, container: Mapping[str, Any], port: int) -> dict[str, Any]:
    variables = {
        "PORT": str(port),
        "K_SERVICE": service.name,
        "K_CONFIGURATION": service.name,
        "K_REVISION": service.name,
    }
    if service.sink is not None:
        variables["K_SINK"] = addresses.url(service.sink, _ingress_url(service.namespace))
        variables["K_CE_OVERRIDES"] = environment.ce_overrides(service.ce_overrides)
    return {
        "name": "user-container",
        **container,
        "env": [*({"name": name, "value": value} for name, value in variables.items()), *(container.get("env") or ())],
        "ports": [{"name": "h2c" if service.protocol == "h2c" else "http", "containerPort": port}],
        **{
            name: _with_port(container[name], port) for name in ("readinessProbe", "livenessProbe") if name in container
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
    }


def _with_port(probe: Mapping[str, Any], port: int) -> dict[str, Any]:
    """With the port that Knative fills in."""
    return {
        name: {"port": port, **(how or {})} if name in {"httpGet", "tcpSocket", "grpc"} else how
        for name, how in probe.items()
    }


def _autoscaler(service: Service, metadata: Mapping[str, Any]) -> dict[str, Any]:
    def scale(name: str) -> int:
        return int(service.annotations.get(f"autoscaling.knative.dev/{name}", "0"))

    least = max(1, scale("min-scale"))
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name},
            "minReplicas": least,
            # An HPA has no "unlimited", which is what Knative's 0 says.
            "maxReplicas": max(least, scale("max-scale") or 10),
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": _CPU_PERCENT}},
                }
            ],
        },
    }


def _broker(platform: Platform, namespace: str) -> Iterator[dict[str, Any]]:
    """Our own Broker; which server carries its events is for the Secret `broker` to say."""
    image = next(iter(platform.services.values())).container.image
    documents = addresses.broker_documents(platform, _ingress_url(namespace))
    text = yaml.safe_dump_all(documents, sort_keys=False)
    metadata = {"name": BROKER, "namespace": namespace, "labels": _selector(BROKER)}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"broker.yaml": text}}
    container = {
        "name": BROKER,
        "image": image,
        "command": ["python", "-m", "eventing.broker"],
        "args": ["--manifest=/etc/wake/broker.yaml", "--host", "0.0.0.0", "--port", str(_BROKER_PORT)],  # noqa: S104 - in a pod.
        "env": [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": BROKER, "key": key, "optional": True}}}
            for name, key in (("NATS_URL", "nats-url"), ("RABBITMQ_URL", "rabbitmq-url"))
        ],
        "ports": [{"name": "http", "containerPort": _BROKER_PORT}],
        "readinessProbe": {"tcpSocket": {"port": _BROKER_PORT}},
        "livenessProbe": {"tcpSocket": {"port": _BROKER_PORT}, "periodSeconds": 20},
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
        "resources": {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}},
        "securityContext": _CONFINED,
        "volumeMounts": [{"name": "triggers", "mountPath": "/etc/wake", "readOnly": True}],
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            # Copies over the same server share the work.
            "replicas": 2,
            "selector": {"matchLabels": _selector(BROKER)},
            "template": {
                "metadata": {
                    "labels": _selector(BROKER),
                    "annotations": {"wake.dev/triggers": plain_envoy.digest(text)},
                },
                "spec": {
                    **_POD,
                    "containers": [container],
                    "volumes": [{"name": "triggers", "configMap": {"name": BROKER}}],
                },
            },
        },
    }
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": _selector(BROKER), "ports": [{"name": "http", "port": 80, "targetPort": _BROKER_PORT}]},
    }


def _cron_job(source: PingSource, platform: Platform) -> dict[str, Any]:
    if len(source.schedule.split()) > 5:
        raise NotRenderable(f"PingSource {source.name}: a CronJob knows no seconds, write five fields")
    container = {
        "name": "ping",
        "image": next(iter(platform.services.values())).container.image,
        "command": ["python", "-m", "eventing.ping"],
        "args": [
            f"--source={ping.source(source.namespace, source.name)}",
            f"--content-type={source.content_type}",
            f"--data={source.data.decode()}",
        ],
        "env": [
            {"name": "K_SINK", "value": addresses.url(source.sink, _ingress_url(source.namespace))},
            {"name": "K_CE_OVERRIDES", "value": environment.ce_overrides(source.ce_overrides)},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
        "securityContext": _CONFINED,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": source.name, "namespace": source.namespace},
        "spec": {
            "schedule": source.schedule,
            **({"timeZone": source.timezone} if source.timezone else {}),
            # As with Knative: a tick that was missed is not made up for.
            "startingDeadlineSeconds": 60,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 5,
                    "ttlSecondsAfterFinished": _JOB_SECONDS,
                    "template": {
                        "metadata": {"labels": _selector("ping")},
                        "spec": {
                            "restartPolicy": "Never",
                            **_POD,
                            "containers": [container],
                        },
                    },
                }
            },
        },
    }


def _ingress(namespace: str) -> dict[str, Any]:
    backend = {"service": {"name": plain_envoy.NAME, "port": {"name": "http"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "wake", "namespace": namespace},
        "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
    }
