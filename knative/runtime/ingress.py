"""Envoy's configuration, made of the Services and HTTPRoutes. Pure.

Shaped as Kourier shapes it: an outer listener with what is visible from outside, an inner one with every Service under
its cluster-local names; no retries, and no time-out other than a Service's own timeoutSeconds. The inner listener is
also the functions' HTTP proxy, which stands in for the cluster's DNS.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from knative.runtime.addresses import CLUSTER_DOMAIN
from knative.runtime.resources import Key, Platform, Route, RouteMatch, Service

# Shorter than the shortest window after which a function is stopped (6 s): no pooled connection outlives its process.
IDLE_SECONDS = 3
_LIMIT = 100_000
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


def bootstrap(platform: Platform, listen: EnvoyPorts, upstream_ports: Mapping[Key, int]) -> dict[str, Any]:
    """What `envoy -c` takes; *upstream_ports* are those of the Services' sockets on loopback."""
    services = platform.services
    outside = [one for one in services.values() if not one.cluster_local]
    public = [_virtual_host(one, _outer_domains(one)) for one in outside] + [_api(platform.routes, services)]
    inner = [_virtual_host(one, _inner_domains(one)) for one in services.values()]
    return {
        "admin": {"address": {"pipe": {"path": listen.admin_socket, "mode": 0o600}}},
        "static_resources": {
            "listeners": [
                _listener("public", listen.public_host, listen.public_port, public, gzip=True),
                _listener("internal", "127.0.0.1", listen.internal_port, inner, gzip=False),
            ],
            "clusters": [_cluster(one, upstream_ports[key]) for key, one in services.items()],
        },
    }


def _outer_domains(service: Service) -> list[str]:
    return [f"{service.name}.{service.namespace}.localhost"]


def _inner_domains(service: Service) -> list[str]:
    host = f"{service.name}.{service.namespace}"
    return [f"{host}.{CLUSTER_DOMAIN}", f"{host}.svc", host]


def _cluster_name(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


def _virtual_host(service: Service, domains: list[str]) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": _action(service)}
    return {"name": domains[0], "domains": domains, "routes": [route]}


def _api(routes: Iterable[Route], services: Mapping[Key, Service]) -> dict[str, Any]:
    """Any other host: by method and path, the most precise first (Gateway API, HTTPRouteRule: precedence)."""
    pairs = [(match, services[route.service]) for route in routes for match in route.matches]
    pairs.sort(key=lambda pair: _precedence(pair[0]))
    return {
        "name": "api",
        "domains": ["*"],
        "routes": [{"match": _match(match), "route": _action(service)} for match, service in pairs],
    }


def _precedence(match: RouteMatch) -> tuple[int, int, int]:
    return (match.kind != "Exact", -len(match.value), match.method is None)


def _match(match: RouteMatch) -> dict[str, Any]:
    if match.kind == "Exact":
        path: dict[str, Any] = {"path": match.value}
    elif match.value.rstrip("/"):
        path = {"path_separated_prefix": match.value.rstrip("/")}
    else:
        path = {"prefix": "/"}
    if match.method is not None:
        # Whoever may GET may HEAD (RFC 9110, section 9.3.2).
        methods = f"^({match.method}|HEAD)$" if match.method == "GET" else f"^{match.method}$"
        path["headers"] = [{"name": ":method", "string_match": {"safe_regex": {"regex": methods}}}]
    return path


def _action(service: Service) -> dict[str, Any]:
    return {
        "cluster": _cluster_name(service.namespace, service.name),
        "timeout": f"{service.timeout_seconds}s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }


def _cluster(service: Service, port: int) -> dict[str, Any]:
    name = _cluster_name(service.namespace, service.name)
    protocol: dict[str, Any] = (
        {"http2_protocol_options": {}} if service.protocol == "h2c" else {"http_protocol_options": {}}
    )
    endpoint = {"endpoint": {"address": _address("127.0.0.1", port)}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _LIMIT)
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
                "explicit_http_config": protocol,
            }
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _listener(name: str, host: str, port: int, hosts: list[dict[str, Any]], *, gzip: bool) -> dict[str, Any]:
    filters = ([_gzip()] if gzip else []) + [
        {"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}}
    ]
    manager = {
        "@type": _HCM,
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": gzip,
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
        "route_config": {"name": name, "virtual_hosts": hosts, "request_headers_to_remove": _REMOVED},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "local_reply_config": _replies(),
        "http_filters": filters,
    }
    return {
        "name": name,
        "address": _address(host, port),
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
    503: ("Service Unavailable", "The function ended before it answered: try again."),
    504: ("Gateway Timeout", "The function took longer than it may."),
}


def _replies() -> dict[str, Any]:
    """Envoy's own answers as problem documents; with Retry-After where trying again may help."""
    mappers = []
    for status, (title, detail) in _SENTENCES.items():
        body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
        condition = {"op": "EQ", "value": {"default_value": status, "runtime_key": f"reply_{status}"}}
        mapper: dict[str, Any] = {
            "filter": {"status_code_filter": {"comparison": condition}},
            "body_format_override": {
                "text_format_source": {"inline_string": body},
                "content_type": "application/problem+json",
            },
        }
        if status == 503:
            mapper["headers_to_add"] = [{"header": {"key": "retry-after", "value": "1"}}]
        mappers.append(mapper)
    return {"mappers": mappers}
