"""`wake up -f FOLDER` on YAML that has nothing to do with Wake: Knative's behaviour, with plain programs."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod

from tests.flows.conftest import Installation, wait_until
from tests.flows.grpc_service import Plain

PROGRAM = Path(__file__).parent / "service.py"


def service(
    name: str, *, annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A Service that the program stands in for."""
    container = {"image": "example.com/any", **spec.pop("container", {})}
    scaling = {f"autoscaling.knative.dev/{key}": value for key, value in (annotations or {}).items()}
    traffic = {"traffic": spec.pop("traffic")} if "traffic" in spec else {}
    command = spec.pop("command", f"{sys.executable} service.py")
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "template": {
                "metadata": {"annotations": {**scaling, "wake.dev/local-command": command}},
                "spec": {"containers": [container], **spec},
            },
            **traffic,
        },
    }


LOCAL = {"networking.knative.dev/visibility": "cluster-local"}
PROBE = {"livenessProbe": {"httpGet": {"path": "/health"}, "periodSeconds": 1, "failureThreshold": 2}}
SERVICES = [
    service("plain", annotations={"window": "6s"}),
    service("inner", labels=LOCAL),
    service("wide", annotations={"window": "6s", "target": "10", "max-scale": "5"}),
    service("single", containerConcurrency=1, annotations={"max-scale": "1"}),
    service("short", timeoutSeconds=1),
    service("starts", timeoutSeconds=10, responseStartTimeoutSeconds=1),
    service("idle", timeoutSeconds=10, idleTimeoutSeconds=1),
    service("always", annotations={"min-scale": "2"}),
    service("ill", container=PROBE),
    service("broken", command=f"{sys.executable} service.py 'the setting COLOUR is missing'"),
]


def write(folder: Path, *documents: dict[str, Any], name: str = "all.yaml") -> None:
    """As an editor saves it."""
    (folder / f".{name}").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    (folder / f".{name}").replace(folder / name)


class Anybody(Installation):
    """`wake up -f` on a folder of its own."""

    def __init__(self, folder: Path, *services: dict[str, Any]) -> None:
        super().__init__(folder)
        self.yaml = folder / "yaml"
        self.yaml.mkdir()
        shutil.copy(PROGRAM, self.yaml)
        write(self.yaml, *services)
        self._clients: list[httpx.Client] = []
        self._of_thread = threading.local()

    @property
    def http(self) -> httpx.Client:
        """This thread's own client.

        One that many threads share looks through all of its connections, under a lock, at every request: with some
        hundred threads it takes a core to itself, and what it calls is never under load.
        """
        if not hasattr(self._of_thread, "client"):
            self._of_thread.client = httpx.Client(timeout=30, verify=False)
            self._clients.append(self._of_thread.client)
        client: httpx.Client = self._of_thread.client
        return client

    def close(self) -> None:
        """Close every thread's connections."""
        for client in self._clients:
            client.close()

    def get(self, host: str, path: str = "/", **headers: str) -> httpx.Response:
        """As a browser or curl calls http://HOST.default.localhost:8080/."""
        return self.http.get(
            f"http://127.0.0.1:{self.port}{path}", headers={"host": f"{host}.default.localhost", **headers}
        )

    def service(self, name: str) -> dict[str, Any]:
        """Its row of `wake ps` (of its newest revision)."""
        return next(one for one in reversed(self.status()["services"]) if one["name"] == name)


@pytest.fixture(scope="module")
def anybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anybody]:
    """All the Services above."""
    made = Anybody(tmp_path_factory.mktemp("anybody"), *SERVICES)
    made.up("-f", str(made.yaml))
    yield made
    assert made.stop() == 0
    made.close()
    assert made.processes() == []


def test_it_starts_only_what_the_yaml_needs(anybody: Anybody) -> None:
    """No Broker, no database, no function of ours: the gateway alone."""
    assert set(anybody.status()["parts"]) == {"envoy"}


def test_a_program_gets_what_the_runtime_contract_says(anybody: Anybody) -> None:
    """PORT, K_SERVICE, K_CONFIGURATION, K_REVISION; Host, Forwarded and X-Forwarded headers."""
    seen = anybody.get("plain").json()

    assert {name: seen["env"][name] for name in ("K_SERVICE", "K_CONFIGURATION", "K_REVISION")} == {
        "K_SERVICE": "plain",
        "K_CONFIGURATION": "plain",
        "K_REVISION": "plain-00001",
    }
    assert seen["env"]["PORT"].isdigit()
    assert seen["headers"]["host"] == "plain.default.localhost"
    assert "for=127.0.0.1;host=plain.default.localhost;proto=http" in seen["headers"]["forwarded"]
    assert seen["headers"]["x-forwarded-proto"] == "http"
    assert seen["headers"]["x-forwarded-for"]


def test_what_is_cluster_local_is_reached_from_inside_only(anybody: Anybody) -> None:
    """404 from outside, by whatever name; a neighbour reaches it by every name that a cluster's DNS has."""
    for host in ("inner", "inner.default.svc.cluster.local"):
        assert anybody.get(host).status_code == 404
    for name in ("inner.default.svc.cluster.local", "inner.default.svc", "inner.default"):
        assert anybody.get("plain", f"/call?url=http://{name}/").json()["env"]["K_SERVICE"] == "inner"


def test_two_hundred_at_once_wake_it_and_all_are_answered_once(anybody: Anybody) -> None:
    """None refused, none twice, whatever number of replicas comes of it."""
    with ThreadPoolExecutor(200) as pool:
        codes = list(pool.map(lambda one: anybody.get("wide", f"/work?s=0.2&id={one}").status_code, range(200)))

    assert Counter(codes) == {200: 200}
    assert sorted(map(int, (anybody.yaml / "ids-wide").read_text().split())) == list(range(200))


def test_load_brings_replicas_and_less_takes_them_away(anybody: Anybody) -> None:
    """From one to max-scale and back; not one request fails on the way."""
    codes: Counter[int] = Counter()
    deadline = time.monotonic() + 60

    def load(_: int) -> None:
        while anybody.service("wide")["replicas"] < 5 and time.monotonic() < deadline:
            codes[anybody.get("wide", "/work?s=0.1").status_code] += 1

    with ThreadPoolExecutor(60) as pool:
        list(pool.map(load, range(60)))
    assert anybody.service("wide")["replicas"] == 5
    assert len({anybody.get("wide", "/work").json()["pid"] for _ in range(100)}) > 1
    while (count := anybody.service("wide")["replicas"]) > 2:
        codes[anybody.get("wide", "/work?s=0.01").status_code] += 1

    assert count <= 2
    assert set(codes) == {200}


def test_a_concurrency_of_one_is_never_two(anybody: Anybody) -> None:
    """One is served, ten wait, the others are told to come again."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: anybody.get("single", "/work?s=0.05"), range(20)))
    codes = Counter(one.status_code for one in answers)

    assert codes[200] >= 11
    assert set(codes) <= {200, 503}
    assert all("retry-after" in one.headers for one in answers if one.status_code == 503)
    assert max(one.json()["most"] for one in answers if one.status_code == 200) == 1


@pytest.mark.parametrize(
    ("host", "path"),
    [("short", "/work?s=3"), ("starts", "/drip?first=3&then=0"), ("idle", "/work?s=3")],
)
def test_what_takes_too_long_is_a_504(anybody: Anybody, host: str, path: str) -> None:
    """timeoutSeconds, responseStartTimeoutSeconds, idleTimeoutSeconds."""
    anybody.get(host, "/work")
    answer = anybody.get(host, path)

    assert answer.status_code == 504
    assert "request timeout" in answer.json()["detail"]


def test_a_limit_for_the_first_byte_is_none_for_the_last(anybody: Anybody) -> None:
    """Once the answer has begun, responseStartTimeoutSeconds is over; timeoutSeconds cuts even then."""
    assert anybody.get("starts", "/drip?first=0&then=2").text == "data: 1\n\ndata: 2\n\n"
    with pytest.raises(httpx.RemoteProtocolError):
        anybody.get("short", "/drip?first=0&then=3")


def test_server_sent_events_come_as_they_are_sent(anybody: Anybody) -> None:
    """Neither compressed nor held back."""
    with anybody.http.stream(
        "GET",
        f"http://127.0.0.1:{anybody.port}/drip?first=0&then=5",
        headers={"host": "plain.default.localhost", "accept-encoding": "gzip"},
    ) as answer:
        assert next(answer.iter_bytes()) == b"data: 1\n\n"


def test_websockets_pass(anybody: Anybody) -> None:
    """Upgraded, both ways, also when it has to be woken for it."""
    with socket.create_connection(("127.0.0.1", anybody.port), timeout=20) as connection:
        connection.sendall(
            b"GET /echo HTTP/1.1\r\nhost: plain.default.localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = connection.recv(4096)
        connection.sendall(b"\x81\x02hi")
        assert connection.recv(100) == b"\x81\x02hi"
    assert head.startswith(b"HTTP/1.1 101")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head


def test_min_scale_runs_before_anybody_calls(anybody: Anybody) -> None:
    """Two of it, from the start."""
    wait_until(lambda: len(anybody.service("always")["pids"]) == 2)


def test_a_failed_liveness_probe_starts_it_again(anybody: Anybody) -> None:
    """The next request finds a healthy one."""
    ill = anybody.get("ill", "/ail").json()["pid"]
    wait_until(lambda: anybody.service("ill")["crashes"] == 1)

    assert anybody.get("ill").json()["pid"] != ill


def test_what_does_not_start_says_why(anybody: Anybody) -> None:
    """Held for three tries, then a 503 with the last line of its log."""
    answer = anybody.get("broken")

    assert answer.status_code == 503
    assert "the setting COLOUR is missing" in answer.json()["detail"]


def test_traffic_is_split_between_revisions(tmp_path: Path) -> None:
    """A new template is a new revision; 90 to 10 is within four points over 1000 requests; a tag is a host."""
    first = service("split", container={"env": [{"name": "COLOUR", "value": "blue"}]})
    second = service(
        "split",
        container={"env": [{"name": "COLOUR", "value": "green"}]},
        traffic=[
            {"revisionName": "split-00001", "percent": 90},
            {"latestRevision": True, "percent": 10, "tag": "canary"},
        ],
    )
    made = Anybody(tmp_path, first)
    made.up("-f", str(made.yaml))
    try:
        assert made.get("split").json()["env"]["COLOUR"] == "blue"
        write(made.yaml, second)
        wait_until(lambda: made.get("canary-split").status_code == 200)
        assert made.get("canary-split").json()["env"]["COLOUR"] == "green"
        with ThreadPoolExecutor(10) as pool:
            seen = Counter(pool.map(lambda _: made.get("split", "/work").json()["revision"], range(1000)))
        assert abs(seen["split-00002"] - 100) <= 40
        assert seen.total() == 1000

        write(made.yaml, service("split", traffic=[{"revisionName": "split-0001", "percent": 100}]))
        wait_until(lambda: made.says("did you mean split-00001?"))
        assert made.get("canary-split").status_code == 200
    finally:
        assert made.stop() == 0
        made.close()


def test_a_saved_program_is_in_force_at_the_next_request(tmp_path: Path) -> None:
    """Under load, without one failed request; a broken YAML leaves the last good one, with file and line."""
    made = Anybody(tmp_path, service("live"))
    made.up("-f", str(made.yaml))
    codes: Counter[int] = Counter()
    stop = False

    def load(_: int) -> None:
        while not stop:
            codes[made.get("live", "/work?s=0.01").status_code] += 1

    try:
        before = made.get("live").json()["pid"]
        with ThreadPoolExecutor(20) as pool:
            loading = [pool.submit(load, one) for one in range(20)]
            text = PROGRAM.read_text().replace('"pid": os.getpid()', '"pid": os.getpid(), "version": 2', 1)
            (made.yaml / "service.py").write_text(text)
            wait_until(lambda: made.get("live").json().get("version") == 2)
            (made.yaml / "all.yaml").write_text("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadta: {}\n")
            wait_until(lambda: made.says("all.yaml:3: metadta"))
            after = made.get("live").json()["pid"]
            stop = True
            for one in loading:
                one.result()
        assert before != after
        assert set(codes) == {200}
    finally:
        stop = True
        assert made.stop() == 0
        made.close()


def ref(name: str, kind: str = "Service") -> dict[str, Any]:
    """A reference to a destination."""
    return {"ref": {"apiVersion": "v1", "kind": kind, "name": name}}


def test_events_go_through_sequence_and_parallel(tmp_path: Path) -> None:
    """Step by step, each with the answer of the one before; branch by branch, where a filter lets them."""
    sequence = {
        "apiVersion": "flows.knative.dev/v1",
        "kind": "Sequence",
        "metadata": {"name": "steps"},
        "spec": {"steps": [ref("one"), ref("two")], "reply": ref("branches", "Parallel")},
    }
    parallel = {
        "apiVersion": "flows.knative.dev/v1",
        "kind": "Parallel",
        "metadata": {"name": "branches"},
        "spec": {
            "branches": [{"filter": ref("gate"), "subscriber": ref("three")}, {"subscriber": ref("four")}],
            "reply": ref("end"),
        },
    }
    source = {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "ContainerSource",
        "metadata": {"name": "beat"},
        "spec": {
            "template": {
                "metadata": {"annotations": {"wake.dev/local-command": f"{sys.executable} beat.py"}},
                "spec": {"containers": [{"image": "example.com/beat"}]},
            },
            "sink": ref("steps", "Sequence"),
        },
    }
    services = [service(name) for name in ("one", "two", "gate", "three", "four", "end")]
    made = Anybody(tmp_path, *services, sequence, parallel, source)
    (made.yaml / "beat.py").write_text(
        "import os, time, urllib.request\n"
        "headers = {'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/beat', 'ce-type': 'beat'}\n"
        "urllib.request.urlopen(urllib.request.Request(os.environ['K_SINK'], b'', headers)).close()\n"
        "time.sleep(3600)\n"
    )
    made.up("-f", str(made.yaml))

    def seen(name: str) -> list[str]:
        file = made.yaml / f"events-{name}"
        return sorted(file.read_text().split()) if file.exists() else []

    try:
        expected = ["beat.one.two.four", "beat.one.two.gate.three"]
        wait_until(lambda: seen("end") == expected)
        assert "source-beat" in made.status()["parts"]
        event = {"type": "sent", "subject": "stop-gate"}
        sent = made.wake("send", "-", "--broker", "default/channels/steps-kn-sequence-0", given=json.dumps(event))
        assert sent.returncode == 0, sent.stderr
        wait_until(lambda: seen("end") == [*expected, "sent.one.two.four"])
        wait_until(lambda: "sent.one.two" in seen("gate"))
        assert "sent.one.two.gate" not in seen("three")
    finally:
        assert made.stop() == 0
        made.close()
    assert made.processes() == []


async def test_grpc_wakes_it_and_streams_outlive_changes_elsewhere(tmp_path: Path) -> None:
    """A unary call wakes an h2c Service; a stream stays with its process while others come, go and change."""
    rpc = service(
        "rpc",
        annotations={"window": "6s"},
        command=f"{sys.executable} grpc_service.py",
        container={"ports": [{"name": "h2c", "containerPort": 8080}]},
    )
    made = Anybody(tmp_path, rpc, service("other", annotations={"target": "1", "max-scale": "3"}))
    shutil.copy(PROGRAM.parent / "grpc_service.py", made.yaml)
    await asyncio.to_thread(made.up, "-f", str(made.yaml))
    try:
        async with Channel("127.0.0.1", made.port, codec=Plain()) as channel:
            channel._authority = "rpc.default.localhost"
            once = UnaryUnaryMethod(channel, "/test.Echo/Once", bytes, bytes)
            assert await once(b"hello", timeout=20) == b"hello"
            async with StreamStreamMethod(channel, "/test.Echo/Stream", bytes, bytes).open(timeout=60) as stream:
                answers = set()
                for number in range(40):
                    await stream.send_message(b"%d" % number)
                    message = await stream.recv_message()
                    assert message is not None
                    answers.add(message.split()[1])
                    if number == 5:
                        loading = [asyncio.to_thread(made.get, "other", "/work?s=3") for _ in range(6)]
                        calls = [asyncio.create_task(one) for one in loading]
                    if number == 20:
                        changed = service("other", container={"env": [{"name": "A", "value": "1"}]})
                        await asyncio.to_thread(write, made.yaml, rpc, changed)
                    await asyncio.sleep(0.1)
                await stream.end()
        assert len(answers) == 1
        assert {(await one).status_code for one in calls} == {200}
        await asyncio.to_thread(wait_until, lambda: made.service("other")["revision"] == "other-00002")
    finally:
        assert await asyncio.to_thread(made.stop) == 0
        made.close()


def test_an_image_that_nothing_stands_in_for_is_refused(installation: Installation) -> None:
    """With what to write, and where."""
    folder = installation.folder / "yaml"
    folder.mkdir()
    document = service("plain")
    del document["spec"]["template"]["metadata"]
    write(folder, document)
    result = installation.wake("up", "-f", str(folder))

    assert result.returncode == 1
    assert "wake.dev/local-command" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_example_of_init_runs(installation: Installation) -> None:
    """Written, started, called: its event arrives."""
    folder = installation.folder / "example"
    assert installation.wake("init", str(folder)).returncode == 0
    assert "not an empty folder" in installation.wake("init", str(folder)).stderr
    installation.up("-f", str(folder))
    answer = httpx.get(
        f"http://127.0.0.1:{installation.port}/", headers={"host": "hello.default.localhost"}, timeout=20
    )

    assert answer.text == "Hello from hello-00001\n"
    wait_until(lambda: "hello.greeted.v1" in installation.wake("logs", "listener").stdout)
    kinds = [json.loads(line)["kind"] for line in installation.wake("events", "--json").stdout.splitlines()]
    assert kinds[:1] == ["accepted"]
    assert installation.stop() == 0
