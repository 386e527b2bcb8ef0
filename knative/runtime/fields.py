"""Every field that Knative's objects may have here: honoured, approximated, or refused with a reason.

`wake explain` prints this; runtime/admission.py holds YAML against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Which fields each kind may have. `ANY` stands for whatever is below; a text is the reason why a field is refused.
ANY: Mapping[str, Any] = {"*": None}


class Approximated(str):
    """A field that is accepted and not done to the letter; the text says how."""

    __slots__ = ()


_METADATA = {"name": None, "namespace": None, "labels": ANY, "annotations": ANY}
_KEY_REF = {"name": None, "key": None, "optional": None}
_ENV = {"name": None, "value": None, "valueFrom": {"secretKeyRef": _KEY_REF, "configMapKeyRef": _KEY_REF}}
_ENV_FROM = {
    "prefix": None,
    "configMapRef": {"name": None, "optional": None},
    "secretRef": {"name": None, "optional": None},
}
_UNCONFINED = Approximated("processes are not confined: they run as whoever runs `wake up`")
_SECURITY = {
    "allowPrivilegeEscalation": _UNCONFINED,
    "readOnlyRootFilesystem": _UNCONFINED,
    "runAsNonRoot": _UNCONFINED,
    "runAsUser": _UNCONFINED,
    "runAsGroup": _UNCONFINED,
    "capabilities": {"drop": _UNCONFINED, "add": "Knative refuses added capabilities"},
    "seccompProfile": {"type": _UNCONFINED},
}
_RESOURCES = {
    "requests": Approximated("cpu is what the hpa class reckons with; nothing is reserved"),
    "limits": Approximated("a process is not held to them"),
}
_PROBE = {
    "httpGet": {"path": None, "port": None, "scheme": None, "httpHeaders": ANY},
    "tcpSocket": {"port": None, "host": None},
    "grpc": {"port": None, "service": None},
    "initialDelaySeconds": None,
    "periodSeconds": None,
    "timeoutSeconds": None,
    "successThreshold": None,
    "failureThreshold": None,
}
_NEVER = "Knative refuses this field"
NOT_YET = "the local runtime does not honour this yet"
_CONTAINER = {
    "name": None,
    "image": None,
    "imagePullPolicy": Approximated("there is no image to pull"),
    "command": ANY,
    "args": ANY,
    "workingDir": None,
    "env": [_ENV],
    "envFrom": [_ENV_FROM],
    "ports": [{"containerPort": None, "name": None, "protocol": None, "hostPort": _NEVER, "hostIP": _NEVER}],
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "startupProbe": NOT_YET,
    "resources": _RESOURCES,
    "securityContext": _SECURITY,
    "volumeMounts": NOT_YET,
    "lifecycle": _NEVER,
    "stdin": _NEVER,
    "stdinOnce": _NEVER,
    "tty": _NEVER,
    "volumeDevices": _NEVER,
}
_JOB_CONTAINER = {
    name: fields for name, fields in _CONTAINER.items() if name not in {"ports", "readinessProbe", "livenessProbe"}
}
_POD_NEVER = dict.fromkeys(
    [
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "nodeName",
        "hostname",
        "subdomain",
        "priority",
        "readinessGates",
    ],
    _NEVER,
) | dict.fromkeys(
    [
        "affinity",
        "nodeSelector",
        "tolerations",
        "securityContext",
        "hostAliases",
        "initContainers",
        "runtimeClassName",
        "schedulerName",
        "priorityClassName",
        "dnsPolicy",
        "dnsConfig",
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
    ],
    "Knative refuses this field unless a feature flag allows it (config-features), and the local runtime has none",
)
SPREAD_FEATURE = "kubernetes.podspec-topologyspreadconstraints"
SPREAD = f"Knative refuses this field unless the feature {SPREAD_FEATURE} is on (config-features)"
RETRY_AFTER = "Knative refuses this field unless the feature delivery-retryafter is on (config-features)"
_DELIVERY = {
    "retry": None,
    "backoffPolicy": None,
    "backoffDelay": None,
    "timeout": None,
    "deadLetterSink": {"ref": ANY, "uri": None},
    "retryAfterMax": RETRY_AFTER,
    "format": None,
}
_DESTINATION = {"ref": {"apiVersion": None, "kind": None, "name": None, "namespace": None}, "uri": None}
_OVERRIDES = {"extensions": ANY}
_HEADER = {"apiVersion": None, "kind": None, "metadata": _METADATA}

FIELDS: Mapping[str, Mapping[str, Any]] = {
    "serving.knative.dev/v1 Service": {
        **_HEADER,
        "spec": {
            "template": {
                "metadata": {"annotations": ANY, "labels": ANY, "name": None},
                "spec": {
                    "containers": [_CONTAINER],
                    "timeoutSeconds": None,
                    "containerConcurrency": None,
                    "responseStartTimeoutSeconds": None,
                    "idleTimeoutSeconds": None,
                    "serviceAccountName": Approximated("there are no service accounts"),
                    "automountServiceAccountToken": Approximated("there are no service accounts"),
                    "enableServiceLinks": Approximated("no such variables are set, as with false"),
                    "imagePullSecrets": Approximated("there is no image to pull"),
                    "volumes": NOT_YET,
                    # One machine: once it is let in there is nothing to do.
                    "topologySpreadConstraints": SPREAD,
                    **_POD_NEVER,
                },
            },
            "traffic": [
                {
                    "revisionName": None,
                    "latestRevision": None,
                    "percent": None,
                    "tag": None,
                    "url": "Knative sets this itself",
                    "configurationName": "Knative refuses this field inside a Service",
                }
            ],
        },
    },
    "eventing.knative.dev/v1 Broker": {
        **_HEADER,
        "spec": {
            "delivery": _DELIVERY,
            "config": Approximated("events are stored by the nats-server or rabbitmq-server that runs here"),
        },
    },
    "eventing.knative.dev/v1 Trigger": {
        **_HEADER,
        "spec": {
            "broker": None,
            "brokerRef": {"apiVersion": None, "kind": None, "name": None, "namespace": None},
            "filter": {"attributes": ANY},
            "filters": ANY,
            "subscriber": _DESTINATION,
            "delivery": _DELIVERY,
        },
    },
    # Documentation, as on Knative itself: no event is held against it. `wake eventtypes` lists them.
    "eventing.knative.dev/v1beta3 EventType": {
        **_HEADER,
        "spec": {
            "reference": {"apiVersion": None, "kind": None, "name": None, "namespace": None},
            "description": None,
            "attributes": [{"name": None, "required": None, "value": None}],
        },
    },
    "messaging.knative.dev/v1 Channel": {
        **_HEADER,
        "spec": {
            "channelTemplate": Approximated("events are stored by the nats-server or rabbitmq-server that runs here"),
            "delivery": _DELIVERY,
            "subscribers": "controllers set this: write a Subscription",
        },
    },
    "messaging.knative.dev/v1 Subscription": {
        **_HEADER,
        "spec": {
            "channel": {"apiVersion": None, "kind": None, "name": None},
            "subscriber": _DESTINATION,
            "reply": _DESTINATION,
            "delivery": _DELIVERY,
        },
    },
    "flows.knative.dev/v1 Sequence": {
        **_HEADER,
        "spec": {
            "steps": [{**_DESTINATION, "delivery": _DELIVERY}],
            "channelTemplate": Approximated("events are stored by the nats-server or rabbitmq-server that runs here"),
            "reply": _DESTINATION,
        },
    },
    "flows.knative.dev/v1 Parallel": {
        **_HEADER,
        "spec": {
            "branches": [
                {"filter": _DESTINATION, "subscriber": _DESTINATION, "reply": _DESTINATION, "delivery": _DELIVERY}
            ],
            "channelTemplate": Approximated("events are stored by the nats-server or rabbitmq-server that runs here"),
            "reply": _DESTINATION,
        },
    },
    "sources.knative.dev/v1 ContainerSource": {
        **_HEADER,
        "spec": {
            "template": {"metadata": ANY, "spec": {"containers": [_JOB_CONTAINER], "restartPolicy": None}},
            "sink": _DESTINATION,
            "ceOverrides": _OVERRIDES,
        },
    },
    "sources.knative.dev/v1 PingSource": {
        **_HEADER,
        "spec": {
            "schedule": None,
            "timezone": None,
            "contentType": None,
            "data": None,
            "dataBase64": None,
            "sink": _DESTINATION,
            "ceOverrides": _OVERRIDES,
        },
    },
    "sources.knative.dev/v1 SinkBinding": {
        **_HEADER,
        "spec": {
            "subject": {
                "apiVersion": None,
                "kind": None,
                "name": None,
                "namespace": None,
                "selector": {"matchLabels": ANY, "matchExpressions": NOT_YET},
            },
            "sink": _DESTINATION,
            "ceOverrides": _OVERRIDES,
        },
    },
    "gateway.networking.k8s.io/v1 Gateway": {**_HEADER, "spec": Approximated("the gateway here is WAKE_PORT, HTTP")},
    "gateway.networking.k8s.io/v1 HTTPRoute": {
        **_HEADER,
        "spec": {
            "parentRefs": ANY,
            "hostnames": Approximated("routes go by path, under any host"),
            "rules": [
                {
                    "name": None,
                    "matches": [
                        {
                            "method": None,
                            "path": {"type": None, "value": None},
                            "headers": NOT_YET,
                            "queryParams": NOT_YET,
                        }
                    ],
                    "filters": [{"type": None, "urlRewrite": {"hostname": None, "path": NOT_YET}}],
                    "backendRefs": Approximated("the rewritten hostname says which Service is meant"),
                    "timeouts": NOT_YET,
                }
            ],
        },
    },
    "batch/v1 Job": {
        **_HEADER,
        "spec": {
            "backoffLimit": None,
            "ttlSecondsAfterFinished": Approximated("a Job that is done leaves nothing behind"),
            "template": {
                "metadata": ANY,
                "spec": {
                    "restartPolicy": None,
                    "serviceAccountName": Approximated("there are no service accounts"),
                    "automountServiceAccountToken": Approximated("there are no service accounts"),
                    "securityContext": _UNCONFINED,
                    "initContainers": [_JOB_CONTAINER],
                    "containers": [_JOB_CONTAINER],
                    "volumes": NOT_YET,
                },
            },
        },
    },
    "v1 ConfigMap": {**_HEADER, "data": ANY},
    "v1 Secret": {**_HEADER, "type": None, "data": ANY, "stringData": ANY},
}


_NO_API_SERVER = "there is no Kubernetes API here whose changes it could watch"
# Kinds of Knative that are refused, each by name and with its reason.
NOT_HERE: Mapping[str, str] = {
    "sources.knative.dev/v1 ApiServerSource": _NO_API_SERVER,
    "serving.knative.dev/v1 Configuration": "write a Service, which makes its Configuration and Route",
    "serving.knative.dev/v1 Route": "write a Service, whose traffic field says the same",
    "serving.knative.dev/v1 Revision": "Knative makes Revisions itself: write a Service",
    "serving.knative.dev/v1beta1 DomainMapping": "hosts here are NAME.NAMESPACE.localhost, and no others",
    "eventing.knative.dev/v1beta2 EventType": "write it as eventing.knative.dev/v1beta3, with spec.attributes",
    "sinks.knative.dev/v1alpha1 JobSink": "the local runtime starts no Jobs for events",
    "eventing.knative.dev/v1alpha1 EventTransform": "the local runtime has no JSONata",
    "eventing.knative.dev/v1alpha1 EventPolicy": "the local runtime has no OIDC identities of senders",
    "eventing.knative.dev/v1alpha1 RequestReply": "no request is held here until its reply event comes",
    "sources.knative.dev/v1alpha1 IntegrationSource": "the local runtime runs no Kamelets",
    "sinks.knative.dev/v1alpha1 IntegrationSink": "the local runtime runs no Kamelets",
}
