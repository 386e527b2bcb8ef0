"""`make image-check`: builds the image, looks at what is in it, runs it, orders something, and ends it.

Everything is in one temporary folder and in namespaces of its own, and is gone at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from functions.operations import known
from knative.image import contents, indexes
from knative.image.about import about
from knative.runtime import child, manifests, nats, postgres, provision
from tests.ship.image import looks, namespaces, order, planted, ways
from tests.ship.image.cluster import BROKER, NAMESPACE, ROOT, Cluster, Program
from tests.ship.image.running import NotConfined
from tests.ship.image.shop import Shop, ShopFailed
from tests.ship.image.store import BASE, Image, Store, StoreFailed

# What `kubectl delete pod` gives where nothing else is said (Kubernetes, terminationGracePeriodSeconds).
_GRACE_SECONDS = 30.0
# More would only wait for each other's imports.
_AT_ONCE = 9
# Sentences about what is wrong.
_SHOWN = 20
# The whole API in one process, which goes by data beside the code.
_TOGETHER = "from functions.together import served; served('api')"
_WRITABLE = """
import os
for folder, folders, _ in os.walk("/"):
    folders[:] = [one for one in folders if os.path.join(folder, one) not in ("/proc", "/sys")]
    try:
        os.close(os.open(os.path.join(folder, ".written"), os.O_CREAT | os.O_WRONLY))
        print(folder)
    except OSError:
        pass
"""


class Wrong(Exception):
    """The image is not as it has to be; the message says how."""


def lacking(base: str) -> str | None:
    """What this machine lacks for the check, in one sentence; None where it lacks nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "This check mounts a root and runs it as another user, so it has to be run as root on Linux."
    needed = {"buildah": "buildah", "unshare": "util-linux", **({} if base else {"mmdebstrap": "mmdebstrap"})}
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    if not missing:
        return None
    return f"Not installed: {', '.join(missing)} (on Debian: apt-get install {' '.join(missing)})."


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end; nothing is removed through what is still mounted in it."""
    folder = Path(tempfile.mkdtemp(prefix="wake-image-"))
    # The user of the image, and PostgreSQL's, pass through it.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if str(folder) in Path("/proc/self/mountinfo").read_text():
            print(f"{folder} has something mounted in it, and is left as it is.", file=sys.stderr)
        else:
            shutil.rmtree(folder)


def built(store: Store, base: str, folder: Path) -> Image:
    """The image, from a folder full of secrets."""
    private = folder / "secrets"
    private.mkdir(mode=0o700)
    secrets = planted.secrets(indexes.secrets(private))
    return store.build(base, planted.context(ROOT, folder / "context"), secrets, about())


def look(image: Image) -> None:
    """Print what it is, and see that it is well at rest.

    Raises:
        Wrong: it is not.
    """
    print(f"  our layers {image.sizes.own / 1e6:.1f} MB, the base's {image.sizes.base / 1e6:.1f} MB, uncompressed")
    found = [
        *looks.dangers(image),
        *looks.missing(ROOT, image.root),
        *(f"{one} is not compiled" for one in looks.uncompiled(image.root)),
    ]
    python = contents.system("", "", (image.root / "opt/wake/pyvenv.cfg").read_text()).python
    lock = (ROOT / "requirements-image.txt").read_text()
    billed = {(one.name, one.version) for one in contents.installed(lock, python)}
    there = looks.installed(image.root)
    if billed != there:
        found.append(f"the bill and what is installed differ: {sorted(billed ^ there)}")
    if found:
        more = f"… and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Wrong("\n  ".join([*found[:_SHOWN], more]).rstrip())
    print(f"  no secret, no setuid, nothing writable, all compiled; the bill names its {len(there)} distributions")


def serve(shop: Shop) -> None:
    """Migrate, order, end one amid a request, compare the books, and start all others.

    Raises:
        Wrong: something is written where nothing may be.
        ShopFailed: something did not go as it has to.
    """
    shop.run(Program("together", ("python", "-c", _TOGETHER), {}, 0, None))
    writable = shop.run(Program("writable", ("python", "-c", _WRITABLE), {}, 0, None)).split()
    if writable != ["/tmp"]:
        raise Wrong(f"writable is {', '.join(writable) or 'nothing'}, and not /tmp alone")
    print(f"  migrated and seeded by {' and '.join(shop.migrate())}; only /tmp is writable")
    running = shop.start(*order.CAST)
    began = time.monotonic()
    payment = order.order(shop)
    print(f"  an order, by {len(running)} processes: {payment['state']} after {time.monotonic() - began:.2f} s")
    took = order.end_amid_a_request(shop, running.pop("users-register"), _GRACE_SECONDS)
    print(f"  SIGTERM to PID 1 amid a request: answered 201, ended with 0 after {took:.2f} s")
    books = shop.cluster.deployments()["payments-reconcile"]
    command = ("python", "-m", "functions.payments.check_books", "--at-rest")
    said = shop.run(Program("check-books", command, books.variables, 0, None))
    print(f"  check_books: {said.strip().splitlines()[-1]}")
    tick_and_start_the_rest(shop)
    shop.stop(*running.values())


def tick_and_start_the_rest(shop: Shop) -> None:
    """Every function starts and ends; those that a PingSource wakes are woken by the image's own ping.

    Raises:
        ShopFailed: one does not.
    """
    served = set(shop.cluster.deployments()) - {BROKER}
    if served != set(known()):
        raise ShopFailed(f"the YAML and the code know different functions: {sorted(served ^ set(known()))}")
    rest = sorted(served - set(order.CAST))
    ticks = shop.cluster.ticks()
    for first in range(0, len(rest), _AT_ONCE):
        running = shop.start(*rest[first : first + _AT_ONCE])
        for name in running.keys() & ticks.keys():
            shop.run(ticks[name])
        shop.stop(*running.values())
    print(f"  the other {len(rest)} functions start, answer their probes and end; {len(ticks)} were woken by a tick")


def check(stack: ExitStack, base: str, wanted: str) -> None:
    """All of it; what has to be undone is given to *stack*."""
    folder = stack.enter_context(temporary_folder())
    namespaces.own_mounts()
    began = time.monotonic()
    store = Store(folder / "store")
    if not base:
        store.make_base()
        print(f"Made a base of Debian's packages in {time.monotonic() - began:.0f} s.", flush=True)
    began = time.monotonic()
    image = built(store, base or BASE, folder)
    print(f"Built the image in {time.monotonic() - began:.0f} s:", flush=True)
    look(image)
    namespaces.own_loopback()
    runs = folder / "runs"
    runs.mkdir()
    way = ways.choose(image, runs, wanted)
    stack.callback(way.close)
    print(f"Running it {way.words}:", flush=True)
    cluster = Cluster(servers(stack, folder))
    serve(Shop(image, way, cluster, folder))


def servers(stack: ExitStack, folder: Path) -> provision.SecretData:
    """A real PostgreSQL and a real nats-server outside the image, and the Secrets that name them."""
    port = child.free_port()
    database = postgres.start(folder / "postgres", port, folder / "postgres.log", {"fsync": "off"})
    stack.callback(database.stop)
    broker = nats.start(folder / "nats", child.free_port(), folder / "nats.log")
    stack.callback(broker.stop)
    database.wait_until_ready()
    broker.wait_until_ready()
    made = provision.complete(manifests.load(ROOT / "knative/overlays/local"), port, folder / "secrets.json")
    asyncio.run(provision.create_databases(database, made.databases))
    return {**made.secrets, (NAMESPACE, BROKER): {"nats-url": broker.url}}


def main() -> None:
    """Check, and exit with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.ship.image", description=__doc__)
    parser.add_argument("--base", default="", help="an image to build on (else one is made of Debian's packages)")
    parser.add_argument("--way", default="", choices=["containers", "chroot"], help="how to run it (else what works)")
    options = parser.parse_args()
    if (sentence := lacking(options.base)) is not None:
        sys.exit(sentence)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            check(stack, options.base, options.way)
    except (Wrong, ShopFailed, StoreFailed, child.StartFailed, NotConfined) as error:
        sys.exit(f"The image is not as it has to be:\n  {error}")
    except subprocess.TimeoutExpired as error:
        sys.exit(f"The image is not as it has to be: {error}")
    except KeyboardInterrupt:
        sys.exit("ended by ctrl-C")
    print(f"The image is as it has to be ({time.monotonic() - began:.0f} s).")


if __name__ == "__main__":
    main()
