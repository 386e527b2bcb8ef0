"""The gateway's program: what is said when it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from knative.runtime import child
from knative.runtime.envoy import Envoy

# What Envoy 1.40 writes, and what it aborts with.
_ABORTED = """[critical][assert] [source/common/filesystem/inotify/watcher_impl.cc:25] assert failure: inotify_fd_ >= 0.
[critical][backtrace] [./source/server/backtrace.h:167] #0: [0x7fa109b92050]
"""


def ended(tmp_path: Path, words: str, before: str = "") -> Envoy:
    """An Envoy that said this and ended."""
    log = tmp_path / "envoy.log"
    log.write_text(before)
    process = child.start(["sh", "-c", f"printf '%s' '{words}'; exit 6"], log=log)
    return Envoy(process, tmp_path / "no.sock", log, len(before))


def test_too_few_inotify_instances_are_named_with_the_way_to_get_more(tmp_path: Path) -> None:
    """Its backtrace would tell nobody that another Wake on the machine has them."""
    with pytest.raises(child.StartFailed) as failure:
        ended(tmp_path, _ABORTED).wait_until_ready()

    assert "sysctl fs.inotify.max_user_instances" in str(failure.value)
    assert "backtrace" not in str(failure.value)


def test_what_an_earlier_run_said_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """The log goes on over runs."""
    with pytest.raises(child.StartFailed, match="it is another thing"):
        ended(tmp_path, "it is another thing", before=_ABORTED).wait_until_ready()
