"""How much a gRPC peer may ask of us, and how long we wait. One place, each number with its reason."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What a process takes; sizes in bytes, times in seconds."""

    #: A message, also after it was inflated. gRPC's own default; a longer one is refused before it is buffered.
    message_bytes_max: int = 4 * MEBIBYTE
    #: The same for what is open to all (health, reflection), which only has names in it.
    public_message_bytes_max: int = 4096
    #: Of a stream that nobody reads this much is taken before its sender has to wait (HTTP/2's own default).
    stream_window: int = 65_535
    #: Of a connection as a whole; given back as it arrives, since each stream is bounded by its own.
    connection_window: int = MEBIBYTE
    #: Messages that arrive, or that nobody has read yet, of all connections together: a pod has 256 MiB.
    arriving_bytes_max: int = 32 * MEBIBYTE
    #: Calls that run at once on one connection; one more is refused unprocessed (REFUSED_STREAM).
    streams_max: int = 128
    #: The headers of a call, unpacked; a token has at most 4 KiB.
    header_bytes_max: int = 16 * 1024
    #: The same as it comes; between the two it is that call alone which is refused, beyond it everybody's on the
    #: connection. Envoy lets 60 KiB through (`max_request_headers_kb`), of many callers on one connection.
    block_bytes_max: int = 64 * 1024
    #: Calls that a peer may start and break off on one connection: so many at once, and so many each second
    #: (CVE-2023-44487). Envoy carries the calls of many on one connection, and whoever has no token can open and break
    #: off a watch of health: so this is not small. One costs us some 60 µs.
    resets_burst: int = 1000
    resets_per_second: int = 1000
    #: Frames of one connection that are handled before others have their turn: some milliseconds, whatever they are.
    frames_a_turn: int = 512
    #: What waits for a peer that does not read, beyond the messages that wait for it: answers to PING and SETTINGS, and
    #: heads of calls that were refused. Whoever goes on asking then is cut off.
    unsent_bytes_max: int = MEBIBYTE
    #: For a peer to read what was written when its connection is closed.
    closing_seconds: float = 10.0
    #: For a unary call whose caller named no deadline; a stream may stay.
    unary_seconds: float = 60.0
    #: After this a connection without calls is closed. Longer than Envoy keeps one (3 s, knative/runtime/ingress.py),
    #: so that Envoy is the first to go; shorter than the shortest window of a function.
    idle_seconds: float = 5.0
    #: About after this a connection is closed, gracefully, and opened again by whoever needs it: behind a name that
    #: leads to several processes (a ClusterIP), the calls of long ago would else stay where they began.
    connection_seconds: float = 300.0
    #: From SIGTERM on, for the calls in flight; whoever is not done by then is told UNAVAILABLE.
    #: Shorter than the patience of whoever stops us (the runtime and Kubernetes: 30 s).
    drain_seconds: float = 10.0
    #: A call to another function for which neither its caller nor the call that it belongs to has a deadline.
    client_unary_seconds: float = 10.0
    #: For a connection to be established, and for a sign of life on one where a call was not answered in time.
    connect_seconds: float = 2.0
    #: An address that did not answer is tried again after a pause that doubles up to this.
    pause_seconds_max: float = 5.0
    #: How often the addresses behind a name are asked for again.
    resolve_seconds: float = 30.0
    #: After this a connection of ours without calls is closed: it must not keep a neighbour from sleeping.
    client_idle_seconds: float = 2.0
