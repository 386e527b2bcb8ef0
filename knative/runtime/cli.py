"""The `wake` command. Each subcommand imports what it needs, so that `wake ps` answers at once."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from knative.runtime import workbench
from knative.runtime.parity import options as parity_options
from knative.runtime.state import AlreadyRunning, State

ROOT = Path(__file__).resolve().parent.parent.parent
_STOPPED_WITHIN_SECONDS = 15.0
Command = Callable[[argparse.Namespace], int]


class Refused(Exception):
    """What was asked for cannot be done; the message is one sentence that says what to do instead."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a subcommand, prints a refusal as one line, and exits with 0, 1 (refused) or 2 (wrong use)."""
    options = _parser().parse_args(arguments)
    try:
        command: Command = options.command
        sys.exit(command(options))
    except (Refused, AlreadyRunning) as refusal:
        sys.exit(f"wake: {refusal}")
    except BrokenPipeError:
        # `wake logs … | head` closes early; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wake", description="Knative YAML on this machine: no cluster, no Docker, no account."
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(os.environ.get("WAKE_STATE", ROOT / ".wake")),
        help="folder that holds the databases, streams and logs (WAKE_STATE, default .wake/ in the checkout)",
    )
    parser.set_defaults(command=_live)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands (none: what runs now, as a table)")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(command=command)
        return one

    one = add("up", _up, "run everything in the foreground; ctrl-C stops it")
    _manifests(one)
    one.add_argument("--host", default=os.environ.get("WAKE_HOST", "127.0.0.1"), help="address to listen on")
    one.add_argument("--port", type=_port, default=_setting("WAKE_PORT", 8080), help="HTTP and gRPC (WAKE_PORT, 8080)")
    one.add_argument(
        "--broker-port",
        type=_port,
        default=_setting("WAKE_BROKER_PORT", 8082),
        help="Broker ingress (WAKE_BROKER_PORT, 8082)",
    )
    one.add_argument(
        "--channel",
        choices=("nats", "rabbitmq"),
        default=os.environ.get("WAKE_CHANNEL") or "nats",
        help="what keeps the events (WAKE_CHANNEL, nats); rabbitmq is the one of RABBITMQ_URL, else one of our own",
    )
    one = add("init", _init, "write an example into a new folder: two services, a Broker and a Trigger")
    one.add_argument("folder", type=Path, help="a folder that is not there yet, or is empty")
    one = add(
        "explain", _explain, "say of every field in use whether it is honoured, approximated (how) or refused (why)"
    )
    _manifests(one)
    one.add_argument("--all", action="store_true", help="of every field of Knative's API, used or not")
    one = add("render", _render, "print the plain YAML that a cluster would get, as kubectl kustomize does")
    _manifests(one)
    form = one.add_mutually_exclusive_group()
    form.add_argument("--kubernetes", action="store_true", help="for a cluster without Knative")
    form.add_argument("--envoy", action="store_true", help="the HTTPRoutes alone, as a plain Envoy")
    form.add_argument("--kn", action="store_true", help="the `kn service create` line of each Service")
    form.add_argument("--sam", action="store_true", help="an AWS SAM template, of knative/overlays/lambda")
    one = add("down", _down, "stop the running one, finishing what is in hand")
    one.add_argument("--quiet", action="store_true", help="say nothing when none runs")
    one = add("reset", _reset, "delete the state folder: every order, event and log")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one = add("ps", _ps, "list the functions: asleep or awake, since when, how often started")
    one.add_argument("--json", action="store_true", help="as JSON")
    one = add("logs", _logs, "print what a function (or envoy, broker, postgres, nats-server, rabbitmq-server) wrote")
    one.add_argument("name", help="a function's name, as `wake ps` lists it, or a part's")
    one.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    one.add_argument("-n", "--lines", type=workbench.count, default=100, help="how many of the last lines (100)")
    _about_events(add)
    one = add("check-books", _check_books, "compare ledger, orders and card processor; exits 1 on any difference")
    one.add_argument("--at-rest", action="store_true", help="nothing is under way: compare everything")
    one = add("crash", _crash, "kill a function's process (SIGKILL), to see that nothing is lost")
    one.add_argument("name", help="a function that is awake")
    one = add("demo", _demo, "register, sign in, place two orders and print their timelines, cold and warm")
    one.add_argument("--url", help="another installation's API (default: the running one here)")
    parity_options.arguments(
        add("parity", _parity, "compare what an installation answers with a laptop, or with another")
    )
    return parser


def _about_events(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    one = add("events", _events, "list what happened to events: accepted, delivered, failed, dead-lettered")
    one.add_argument("-s", "--subject", help="only those about this subject (an order's id)")
    one.add_argument("-n", "--last", type=workbench.count, default=50, help="how many of the last happenings (50)")
    one.add_argument("-f", "--follow", action="store_true", help="go on as they happen")
    one.add_argument("--json", action="store_true", help="one JSON object a line")
    one = add(
        "eventtypes", _eventtypes, "list the types of events: what each says, who emits it, which Triggers it wakes"
    )
    _manifests(one)
    one.add_argument("--json", action="store_true", help="as JSON")
    one = add("send", _send, "send an event to the Broker")
    one.add_argument("file", help="a CloudEvent in JSON (structured mode), or - for standard input")
    one.add_argument("--broker", help="NAMESPACE/NAME (the first Broker of the YAML)")
    one = add("deadletters", _deadletters, "list events that could not be handled; show, edit, redrive or discard them")
    workbench.deadletters(one)
    workbench.replay(add("replay", _replay, "send stored events to one Trigger again, under the same ids"))
    one = add("republish", _republish, "send again what the outboxes published since a time, under the same ids")
    one.add_argument("--since", required=True, help="RFC 3339, or a span such as 90m, 2h, 3d")


def _manifests(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--manifests",
        type=Path,
        default=_own(),
        help="a YAML file, a folder of them, or a kustomization folder",
    )


def _own() -> Path:
    """Wake's own YAML, as this machine's environment asks for it: with a cache where CACHE_URL names one."""
    return ROOT / "knative/overlays" / ("cached" if os.environ.get("CACHE_URL") else "local")


def _setting(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    try:
        return _port(value) if value else default
    except argparse.ArgumentTypeError as error:
        sys.exit(f"wake: {name}: {error}")


def _port(text: str) -> int:
    """A port; 0 is any that is free."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: that is a number from 1 to 65535")
    return int(text)


def _running(state: State) -> dict[str, Any]:
    status = state.status()
    if status is None:
        raise Refused(f"nothing runs on {state.folder}: start it with `make up` (or `wake up`)")
    return status


def _up(options: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415 - see the module's docstring.

    from knative.runtime import channel, up  # noqa: PLC0415
    from knative.runtime.child import StartFailed  # noqa: PLC0415
    from knative.runtime.environment import MissingValue  # noqa: PLC0415
    from knative.runtime.history import NoSuchRevision  # noqa: PLC0415
    from knative.runtime.jobs import JobFailed  # noqa: PLC0415
    from knative.runtime.kustomize import ManifestErrors  # noqa: PLC0415
    from knative.runtime.manifests import load  # noqa: PLC0415
    from knative.runtime.serving import NotRunnable  # noqa: PLC0415

    state = State(options.state)
    if options.channel not in channel.KINDS:
        raise Refused(f"WAKE_CHANNEL is nats or rabbitmq, not {options.channel!r}")
    kept = channel.Choice(options.channel, os.environ.get("RABBITMQ_URL", "") if options.channel == "rabbitmq" else "")
    try:
        platform = load(options.manifests)
        crashed = state.open()
        try:
            asyncio.run(
                up.up(
                    platform,
                    state,
                    up.Options(ROOT, options.manifests, options.host, options.port, options.broker_port, kept),
                    after_crash=crashed,
                )
            )
        finally:
            state.close()
    except ManifestErrors as errors:
        print("\n".join(str(error) for error in errors.errors), file=sys.stderr)
        many = len(errors.errors)
        raise Refused(
            f"{many} things in {options.manifests} are not as Knative would take them"
            if many > 1
            else f"nothing is started from {options.manifests}"
        ) from errors
    except (StartFailed, JobFailed, MissingValue, up.PortTaken, NotRunnable, NoSuchRevision, ValueError) as error:
        raise Refused(str(error)) from error
    except OSError as error:
        raise Refused(f"{error.strerror or error}: {error.filename or options.state}") from error
    return 0


def _live(options: argparse.Namespace) -> int:
    from knative.runtime.live import show  # noqa: PLC0415

    state = State(options.state)
    _running(state)
    show(state.status)
    return 0


def _explain(options: argparse.Namespace) -> int:
    from knative.runtime import fidelity  # noqa: PLC0415
    from knative.runtime.kustomize import ManifestErrors, collect  # noqa: PLC0415

    try:
        report = fidelity.everything() if options.all else fidelity.in_use(collect(options.manifests))
    except ManifestErrors as errors:
        raise Refused(str(errors)) from errors
    for kind, lines in report.items():
        print(kind)
        print("\n".join(map(str, lines)))
    count = [line.fidelity for lines in report.values() for line in lines]
    print(f"\n{', '.join(f'{count.count(one)} {one}' for one in ('honoured', 'approximated', 'refused'))}.")
    return 1 if "refused" in count and not options.all else 0


def _render(options: argparse.Namespace) -> int:
    from knative.runtime import render  # noqa: PLC0415
    from knative.runtime.kubernetes import NotRenderable  # noqa: PLC0415
    from knative.runtime.kustomize import ManifestErrors, collect  # noqa: PLC0415

    forms: tuple[render.Form, ...] = ("kubernetes", "envoy", "kn", "sam")
    form: render.Form = next((one for one in forms if getattr(options, one)), "knative")
    try:
        print(render.text(collect(options.manifests), form), end="")
    except (ManifestErrors, NotRenderable) as errors:
        raise Refused(str(errors)) from errors
    return 0


def _init(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} is there already and not an empty folder: choose another name")
    try:
        shutil.copytree(Path(__file__).parent / "example", folder, dirs_exist_ok=True)
    except OSError as error:
        raise Refused(f"{error.filename or folder}: {error.strerror}") from error
    print(f"Written. Now: wake up -f {folder}   ({folder}/README.md says what to try)")
    return 0


def _down(options: argparse.Namespace) -> int:
    state = State(options.state)
    if (status := state.status()) is None:
        if not options.quiet:
            print("Nothing runs here.")
        return 0
    os.kill(status["pid"], signal.SIGTERM)
    deadline = time.monotonic() + _STOPPED_WITHIN_SECONDS
    while state.status() is not None:
        if time.monotonic() > deadline:
            raise Refused(f"pid {status['pid']} is still stopping: wait, or kill -9 it; the next start recovers")
        time.sleep(0.02)
    print("Stopped.")
    return 0


def _reset(options: argparse.Namespace) -> int:
    state = State(options.state)
    if (status := state.status()) is not None:
        raise Refused(f"it is running (pid {status['pid']}): `wake down` first")
    if not state.folder.exists():
        print("There is nothing to delete.")
        return 0
    if not (state.folder / "lock").exists():
        raise Refused(f"{state.folder} is no state folder of Wake (it has no lock file), so it is left alone")
    if not options.yes:
        if not sys.stdin.isatty():
            raise Refused("this deletes every order, event and log: say --yes")
        if input(f"Delete {state.folder} with every order, event and log in it? [y/N] ").strip().lower() != "y":
            return 1
    shutil.rmtree(state.folder)
    print("Deleted.")
    return 0


def _ps(options: argparse.Namespace) -> int:
    status = _running(State(options.state))
    services = sorted(status["services"], key=lambda one: (one["phase"] == "asleep", one["name"]))
    if options.json:
        print(json.dumps(services, indent=1))
        return 0
    print(f"{'NAME':<24}{'PHASE':<10}{'PID':<9}{'SINCE':<10}{'STARTS':<8}{'CRASHES':<9}REQUESTS")
    for one in services:
        since = time.strftime("%H:%M:%S", time.localtime(one["since"]))
        print(
            f"{one['name']:<24}{one['phase']:<10}{one['pid'] or '-':<9}{since:<10}"
            f"{one['starts']:<8}{one['crashes']:<9}{one['requests_total']}"
        )
    awake = sum(one["phase"] != "asleep" for one in services)
    print(f"\n{len(services)} functions, {awake} awake. API {status['url']}, Broker {status['broker']}")
    return 0


def _logs(options: argparse.Namespace) -> int:
    from knative.runtime.follow import follow, last_lines  # noqa: PLC0415

    state = State(options.state)
    file = state.logs / f"{options.name}.log"
    if not file.exists() or "/" in options.name:
        known = sorted(path.stem for path in state.logs.glob("*.log"))
        services = [one["name"] for one in (state.status() or {"services": []})["services"]]
        if options.name in services:
            raise Refused(f"{options.name} has written nothing yet: it was never awake")
        raise Refused(f"there is no log of {options.name!r}; there are {', '.join(known) or 'none yet'}")
    for line in last_lines(file, options.lines):
        print(line)
    if options.follow:
        for line in follow(file):
            print(line, flush=True)
    return 0


def _events(options: argparse.Namespace) -> int:
    from knative.runtime.journal import heading, lines  # noqa: PLC0415

    state = State(options.state)
    if not state.journal.exists():
        raise Refused("no event has been seen here yet")
    if not options.json:
        print(heading())
    for line in lines(
        state.journal, subject=options.subject, last=options.last, follow=options.follow, as_json=options.json
    ):
        print(line, flush=options.follow)
    return 0


def _eventtypes(options: argparse.Namespace) -> int:
    from knative.runtime import eventtypes  # noqa: PLC0415
    from knative.runtime.kustomize import ManifestErrors  # noqa: PLC0415
    from knative.runtime.manifests import load  # noqa: PLC0415

    try:
        platform = load(options.manifests)
    except ManifestErrors as errors:
        raise Refused(str(errors)) from errors
    if not platform.event_types:
        raise Refused(f"{options.manifests} has no EventType")
    print(json.dumps(eventtypes.listed(platform), indent=1) if options.json else "\n".join(eventtypes.lines(platform)))
    return 0


def _send(options: argparse.Namespace) -> int:
    from knative.runtime.send import SendFailed, send  # noqa: PLC0415

    status = _running(State(options.state))
    if not (options.broker or status["brokers"]):
        raise Refused("the YAML that runs has no Broker")
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
        print(send(text, f"{status['broker']}/{options.broker or status['brokers'][0]}"))
    except OSError as error:
        raise Refused(f"{options.file}: {error.strerror}") from error
    except SendFailed as error:
        raise Refused(str(error)) from error
    return 0


def _deadletters(options: argparse.Namespace) -> int:
    from knative.runtime.deadletters import WORK  # noqa: PLC0415

    return _as_admin(WORK[options.work], options)


def _replay(options: argparse.Namespace) -> int:
    from knative.runtime.replay import replay  # noqa: PLC0415

    return _as_admin(replay, options)


def _as_admin(work: Callable[[Any, argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Do what an admin may, here or at --url; answers the exit code."""
    from knative.runtime.api import ApiFailed, admin  # noqa: PLC0415

    state = State(options.state)
    try:
        here = "" if options.url else _running(state)["url"]
        return work(admin(state, here, options.url, options.token_file), options)
    except ApiFailed as error:
        raise Refused(str(error)) from error


def _republish(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime  # noqa: PLC0415

    from knative.runtime.api import ApiFailed  # noqa: PLC0415
    from knative.runtime.deadletters import moment  # noqa: PLC0415

    try:
        moment(options.since, datetime.now(UTC))
    except ApiFailed as error:
        raise Refused(f"--since: {error}") from error
    return _run_beside("republish", ["--since", options.since], options)


def _check_books(options: argparse.Namespace) -> int:
    return _run_beside("check-books", ["--at-rest"] * options.at_rest, options)


def _run_beside(what: str, words: list[str], options: argparse.Namespace) -> int:
    """Run the command that a Service's annotation names, in that Service's environment; answers its exit code."""
    import shlex  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    from knative.runtime import environment, provision  # noqa: PLC0415
    from knative.runtime.manifests import load  # noqa: PLC0415

    state = State(options.state)
    status = _running(state)
    platform = load(Path(status["manifests"]))
    values = environment.Values.of(
        platform, provision.complete(platform, status["postgres_port"], state.secrets).secrets
    )
    for service in platform.services.values():
        if (command := service.annotations.get(f"wake.dev/{what}-command")) is not None:
            program, *arguments = shlex.split(command)
            return subprocess.run(
                [sys.executable if program == "python" else program, *arguments, *words],
                cwd=ROOT,
                env=environment.of_service(service, values, status["gateway"], status["broker"]),
                check=False,
            ).returncode
    raise Refused(f"no Service says how to {what} (annotation wake.dev/{what}-command on its template)")


def _crash(options: argparse.Namespace) -> int:
    for one in _running(State(options.state))["services"]:
        if one["name"] == options.name:
            if one["pid"] is None:
                raise Refused(f"{options.name} is asleep: call it first")
            os.kill(one["pid"], signal.SIGKILL)
            print(f"Killed {options.name} (pid {one['pid']}).")
            return 0
    raise Refused(f"there is no function {options.name!r}; `wake ps` lists them")


def _demo(options: argparse.Namespace) -> int:
    from knative.runtime.api import ApiFailed  # noqa: PLC0415
    from knative.runtime.demo import demo  # noqa: PLC0415

    state = State(options.state)
    try:
        demo(options.url or _running(state)["url"], None if options.url else state.journal)
    except ApiFailed as error:
        raise Refused(str(error)) from error
    return 0


def _parity(options: argparse.Namespace) -> int:
    from knative.runtime.parity.command import parity  # noqa: PLC0415

    return parity(options, State(options.state), ROOT)
