"""Envoy's configuration, made of the Services and HTTPRoutes. Pure.

Shaped as Kourier shapes it: an outer listener with what is visible from outside, an inner one with every Service under
its cluster-local names; no retries, and no time-out other than a Service's own. The inner listener is
also the functions' HTTP proxy, which stands in for the cluster's DNS.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knative.runtime.addresses import CLUSTER_DOMAIN
from knative.runtime.resources import Key, Route, Routed, RouteMatch, Service

# Shorter than the shortest window after which a function is stopped (6 s): no pooled connection outlives its process.
IDLE_SECONDS = 3
_LIMIT = 100_000
# How many requests may wait for each replica, times its containerConcurrency (pkg/queue/sharedmain/main.go).
QUEUED_FOR_EACH = 10
_TYPES = "type.googleapis.com/envoy.extensions"
_HCM = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
# What a caller must not be able to say in Knative's own name.
_REMOVED = ["knative-serving-revision", "knative-serving-namespace", "k-original-host", "k-proxy-request"]


@dataclass(frozen=True)
class EnvoyPorts:
    """Where Envoy listens; the admin interface is on a Unix socket."""

    public_host: str
    public_port: int
    internal_port: int
    admin_socket: str


def bootstrap(listen: EnvoyPorts, folder: Path) -> dict[str, Any]:
    """What `envoy -c` takes: listeners that stay; clusters, their endpoints and routes come from files in *folder*."""
    return {
        "node": {"id": "wake", "cluster": "wake"},
        "admin": {"address": {"pipe": {"path": listen.admin_socket, "mode": 0o600}}},
        # What may be changed while it runs: the length of the queue before a revision with a concurrency limit.
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "dynamic_resources": {"cds_config": _from_file(folder / "clusters.json")},
        "static_resources": {
            "listeners": [
                listener("public", listen.public_host, listen.public_port, _followed("public", folder), public=True),
                listener("internal", "127.0.0.1", listen.internal_port, _followed("internal", folder), public=False),
            ],
        },
    }


def _followed(name: str, folder: Path) -> dict[str, Any]:
    """Routes that are followed as their file changes."""
    return {"rds": {"route_config_name": name, "config_source": _from_file(folder / f"routes.{name}.json")}}


def _from_file(file: Path) -> dict[str, Any]:
    return {"path_config_source": {"path": str(file)}, "resource_api_version": "V3"}


def discovered(kind: str, resources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A DiscoveryResponse, which is what such a file holds (Envoy, xDS: filesystem subscriptions)."""
    kinds = {
        "clusters": "config.cluster.v3.Cluster",
        "routes": "config.route.v3.RouteConfiguration",
        "endpoints": "config.endpoint.v3.ClusterLoadAssignment",
    }
    return {"resources": [{"@type": f"type.googleapis.com/envoy.{kinds[kind]}", **one} for one in resources]}


def public_routes(routed: Mapping[Key, Routed], routes: Iterable[Route]) -> dict[str, Any]:
    """What can be reached from outside: a host for each Service and each tag, and the API of the HTTPRoutes."""
    hosts = [
        host
        for one in routed.values()
        if not one.service.cluster_local
        for host in _virtual_hosts(one, [f"{one.service.name}.{one.service.namespace}.localhost"])
    ]
    return route_configuration("public", [*hosts, _api(routes, routed)])


def internal_routes(routed: Mapping[Key, Routed]) -> dict[str, Any]:
    """What functions can reach: every Service and every tag under its cluster-local names."""
    hosts = []
    for one in routed.values():
        name = f"{one.service.name}.{one.service.namespace}"
        hosts += _virtual_hosts(one, [f"{name}.{CLUSTER_DOMAIN}", f"{name}.svc", name])
    return route_configuration("internal", hosts)


def route_configuration(name: str, hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """The routes of a listener, with the headers that are removed and added on all of them."""
    return {
        "name": name,
        "virtual_hosts": hosts,
        "request_headers_to_remove": _REMOVED,
        "request_headers_to_add": [
            {
                # Synthesised where it is absent, as queue-proxy does (pkg/queue/forwarded_shim.go).
                "header": {
                    "key": "forwarded",
                    "value": "for=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%;"
                    "host=%REQ(:AUTHORITY)%;proto=%REQ(X-FORWARDED-PROTO)%",
                },
                "append_action": "ADD_IF_ABSENT",
            }
        ],
    }


def _virtual_hosts(routed: Routed, domains: list[str]) -> list[dict[str, Any]]:
    """One for the Service, one for each tag: always at 100 % of that revision (route/resources/ingress.go)."""
    everything = {"match": {"prefix": "/"}}
    hosts = [{"name": domains[0], "domains": domains, "routes": [{**everything, "route": _action(routed)}]}]
    for target in routed.targets:
        if target.tag is not None:
            tagged = [f"{target.tag}-{domain}" for domain in domains]
            action = _action(routed, target.revision)
            hosts.append({"name": tagged[0], "domains": tagged, "routes": [{**everything, "route": action}]})
    return hosts


def _api(routes: Iterable[Route], routed: Mapping[Key, Routed]) -> dict[str, Any]:
    """Any other host: by method and path, the most precise first (Gateway API, HTTPRouteRule: precedence)."""
    pairs = [(match, routed[route.service]) for route in routes for match in route.matches]
    pairs.sort(key=lambda pair: precedence(pair[0]))
    return {
        "name": "api",
        "domains": ["*"],
        "routes": [{"match": match_of(match), "route": _action(one)} for match, one in pairs],
    }


def precedence(match: RouteMatch) -> tuple[int, int, int]:
    """What a sort by it puts first is the more precise."""
    return (match.kind != "Exact", -len(match.value), match.method is None)


def match_of(match: RouteMatch) -> dict[str, Any]:
    """A route's match as Envoy has it."""
    if match.kind == "Exact":
        path: dict[str, Any] = {"path": match.value}
    elif match.value.rstrip("/"):
        path = {"path_separated_prefix": match.value.rstrip("/")}
    else:
        path = {"prefix": "/"}
    if match.method is not None:
        path["headers"] = [{"name": ":method", "string_match": {"exact": match.method}}]
    return path


def _action(routed: Routed, revision: str | None = None) -> dict[str, Any]:
    """To one revision, or split by percent: at each request anew, nothing sticks (serving specification, Route)."""
    service = routed.service if revision is None else routed.revisions[revision]
    action: dict[str, Any] = {
        "timeout": f"{service.timeout_seconds}s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }
    if service.idle_timeout_seconds:
        action["idle_timeout"] = f"{service.idle_timeout_seconds}s"
    if service.response_start_timeout_seconds:
        # One try, and a limit for it that ends with the first byte of the answer.
        action["retry_policy"] = {
            "retry_on": "",
            "num_retries": 0,
            "per_try_timeout": f"{service.response_start_timeout_seconds}s",
        }
    weights = {} if revision is not None else _weights(routed)
    if len(weights) > 1:
        action["weighted_clusters"] = {
            "clusters": [
                {"name": cluster_name(service.namespace, name), "weight": percent} for name, percent in weights.items()
            ]
        }
    else:
        action["cluster"] = cluster_name(service.namespace, revision or next(iter(weights), service.revision))
    return action


def _weights(routed: Routed) -> dict[str, int]:
    weights: dict[str, int] = {}
    for target in routed.targets:
        if target.percent:
            weights[target.revision] = weights.get(target.revision, 0) + target.percent
    return weights


def cluster_name(namespace: str, revision: str) -> str:
    """What Envoy calls a revision."""
    return f"{namespace}/{revision}"


def cluster(service: Service, folder: Path) -> dict[str, Any]:
    """A revision as Envoy sees it; where its replicas are is in a file of its own.

    A containerConcurrency is a limit of connections to each replica, as each carries one request at a time (HTTP/1.1),
    or of streams on its only connection (h2c).
    """
    name = cluster_name(service.namespace, service.revision)
    limit = service.container_concurrency
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _LIMIT)
    breakers: dict[str, Any] = {"thresholds": [limits]}
    if limit:
        limits["max_pending_requests"] = QUEUED_FOR_EACH * limit
        breakers["per_host_thresholds"] = [{"max_connections": 1 if service.protocol == "h2c" else limit}]
    return {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _from_file(folder / endpoints_file(name)), "service_name": name},
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": breakers,
        "typed_extension_protocol_options": protocol_options(service, streams_max=limit),
    }


def protocol_options(service: Service, streams_max: int = 0) -> dict[str, Any]:
    """HTTP/1.1 or h2c, and when an idle connection is closed; *streams_max* limits an h2c connection, 0 does not."""
    http2: dict[str, Any] = {"max_concurrent_streams": streams_max} if streams_max else {}
    protocol = {"http2_protocol_options": http2} if service.protocol == "h2c" else {"http_protocol_options": {}}
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
            "explicit_http_config": protocol,
        }
    }


def endpoints_file(name: str) -> str:
    """Where the endpoints of a cluster are written."""
    return f"endpoints.{name.replace('/', '.')}.json"


def endpoints(name: str, ports: Iterable[int]) -> dict[str, Any]:
    """Where a revision's replicas are, on loopback."""
    addresses = [{"endpoint": {"address": address("127.0.0.1", port)}} for port in ports]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": addresses}]}


def address(host: str, port: int) -> dict[str, Any]:
    """An address as Envoy has it."""
    return {"socket_address": {"address": host, "port_value": port}}


def listener(name: str, host: str, port: int, routes: Mapping[str, Any], *, public: bool) -> dict[str, Any]:
    """Where Envoy listens, and how it treats HTTP; *routes* are its routes, or (`rds`) where they are to be had."""
    filters = ([_gzip()] if public else []) + [
        {"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}}
    ]
    manager = {
        "@type": _HCM,
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": public,
        "strip_any_host_port": True,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": 100,
            "idle_timeout": "3600s",
        },
        "max_request_headers_kb": 32,
        "stream_idle_timeout": "0s",
        "request_headers_timeout": "10s",
        **routes,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "local_reply_config": _replies(),
        "http_filters": filters,
    }
    return {
        "name": name,
        "address": address(host, port),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _gzip() -> dict[str, Any]:
    common = {"enabled": {"default_value": True, "runtime_key": "gzip"}, "min_content_length": 1024}
    return {
        "name": "gzip",
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.compressor.v3.Compressor",
            "response_direction_config": {
                "common_config": common,
                # A compressed body is another representation: a strong tag would not be its own (RFC 9110, 8.8.3.3).
                "disable_on_etag_header": True,
            },
            "compressor_library": {
                "name": "gzip",
                "typed_config": {"@type": f"{_TYPES}.compression.gzip.compressor.v3.Gzip"},
            },
        },
    }


_SENTENCES = {
    404: ("Not Found", "There is nothing at this method and path."),
    413: ("Content Too Large", "The body is longer than is taken here."),
    431: ("Request Header Fields Too Large", "The headers are longer than is taken here."),
    503: ("Service Unavailable", "The function ended before it answered, or too many wait for it: try again."),
    504: ("Gateway Timeout", "request timeout: the function took longer than it may."),
}


def _replies() -> dict[str, Any]:
    """Envoy's own answers as problem documents, and as plain sentences in gRPC's status; with Retry-After on a 503."""
    mappers = []
    for status, (title, detail) in _SENTENCES.items():
        body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
        condition = {"op": "EQ", "value": {"default_value": status, "runtime_key": f"reply_{status}"}}
        of_status: dict[str, Any] = {"status_code_filter": {"comparison": condition}}
        mapper: dict[str, Any] = {"filter": of_status, "body_format_override": _body(body, "application/problem+json")}
        if status == 503:
            mapper["headers_to_add"] = [{"header": {"key": "retry-after", "value": "1"}}]
        # Envoy makes the body a gRPC answer's grpc-message; the first mapper that fits is taken.
        of_grpc = {"and_filter": {"filters": [of_status, _IS_GRPC]}}
        mappers += [{"filter": of_grpc, "body_format_override": _body(detail, "text/plain")}, mapper]
    return {"mappers": mappers}


_IS_GRPC: dict[str, Any] = {
    "header_filter": {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}
}


def _body(text: str, content_type: str) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": text}, "content_type": content_type}
