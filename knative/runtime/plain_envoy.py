"""The gateway for a cluster without an implementation of the Gateway API: a plain Envoy with the HTTPRoutes' routes.

Every function is called under its cluster-local name, which is Kourier's inner gateway where Knative runs it and an
ordinary Service elsewhere: one configuration serves both. Pure.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from knative.runtime import ingress
from knative.runtime.addresses import CLUSTER_DOMAIN
from knative.runtime.resources import Platform, Service

NAME = "gateway"
_IMAGE = "envoyproxy/envoy:distroless-v1.40.0"
_PORT = 8080
_FILE = "envoy.json"
_LIMIT = 100_000
# Longer than it takes until nobody sends new connections to a pod that ends.
_LEAVE_SECONDS = 5


def configuration(platform: Platform) -> dict[str, Any]:
    """What `envoy -c` takes."""
    pairs = [(match, platform.services[route.service]) for route in platform.routes for match in route.matches]
    pairs.sort(key=lambda pair: ingress.precedence(pair[0]))
    api = {
        "name": "api",
        "domains": ["*"],
        "routes": [{"match": ingress.match_of(match), "route": _action(service)} for match, service in pairs],
    }
    routes = {"route_config": ingress.route_configuration("public", [api])}
    routed = {(service.namespace, service.name): service for _, service in pairs}
    return {
        "static_resources": {
            "listeners": [ingress.listener("public", "0.0.0.0", _PORT, routes, public=True)],  # noqa: S104 - in a pod.
            "clusters": [_cluster(routed[key]) for key in sorted(routed)],
        }
    }


def _host(service: Service) -> str:
    return f"{service.name}.{service.namespace}.{CLUSTER_DOMAIN}"


def _action(service: Service) -> dict[str, Any]:
    return {
        "cluster": ingress.cluster_name(service.namespace, service.name),
        "host_rewrite_literal": _host(service),
        "timeout": f"{service.timeout_seconds}s",
    }


def _cluster(service: Service) -> dict[str, Any]:
    name = ingress.cluster_name(service.namespace, service.name)
    place = {"endpoint": {"address": ingress.address(_host(service), 80)}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [place]}]},
        "circuit_breakers": {
            "thresholds": [dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _LIMIT)]
        },
        "typed_extension_protocol_options": ingress.protocol_options(service),
    }


def objects(platform: Platform, namespace: str) -> list[dict[str, Any]]:
    """The ConfigMap, Deployment and Service of the gateway."""
    text = json.dumps(configuration(platform), indent=1) + "\n"
    labels = {"app.kubernetes.io/name": NAME}
    metadata = {"name": NAME, "namespace": namespace, "labels": labels}
    container = {
        "name": "envoy",
        "image": _IMAGE,
        "command": ["/usr/local/bin/envoy"],
        "args": ["-c", f"/etc/envoy/{_FILE}", "--log-level", "warning", "--disable-hot-restart"],
        "ports": [{"name": "http", "containerPort": _PORT}],
        "readinessProbe": {"tcpSocket": {"port": _PORT}},
        "livenessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 20},
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"cpu": "2", "memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "configuration", "mountPath": "/etc/envoy", "readOnly": True}],
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_FILE: text}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    # Envoy reads its file once: other routes are another pod.
                    "metadata": {"labels": labels, "annotations": {"wake.dev/configuration": digest(text)}},
                    "spec": {
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                        "containers": [container],
                        "volumes": [{"name": "configuration", "configMap": {"name": NAME}}],
                    },
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": _PORT}]},
        },
    ]


def digest(text: str) -> str:
    """Changes whenever a text does; short enough for an annotation."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
