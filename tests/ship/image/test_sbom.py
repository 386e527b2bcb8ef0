"""The bill of materials names exactly what the image installs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from knative.image.contents import Pinned, System, SystemPackage, installed
from knative.image.sbom import InvalidBom, document
from tests.ship.image.cluster import ROOT

LOCK = (ROOT / "requirements-image.txt").read_text()
PYTHON = "3.13.15"
BASE = System("debian", "13", PYTHON, (SystemPackage("libc6", "2.41-12", "amd64"),))


def bill(system: System | None = None) -> Any:
    """The bill of the image, read back."""
    return json.loads(document("1.2.3", installed(LOCK, PYTHON), system))


def test_it_names_what_the_image_installs_and_nothing_else() -> None:
    """Read again by another parser than the bill's."""
    lines = [line.split("--hash")[0].rstrip(" \\") for line in LOCK.splitlines() if line[:1].isalnum()]
    image = {"python_full_version": PYTHON, "implementation_name": "cpython"}
    needed = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate(image)]

    assert {f"pkg:pypi/{one.name}@{str(one.specifier)[2:]}" for one in needed} == {
        one["purl"] for one in bill()["components"]
    }


def test_each_has_the_hashes_that_its_file_is_held_against() -> None:
    """One of them is the file's that was installed."""
    for one in bill()["components"]:
        (origin,) = one["externalReferences"]
        _, _, after = LOCK.partition(f"\n{one['name']}=={one['version']} ")
        block = after.partition("\n")[2].split("\n")
        expected = set()
        for line in block:
            if not line.startswith("    --hash=sha256:"):
                break
            expected.add(line.removeprefix("    --hash=sha256:").rstrip(" \\"))

        assert {hashed["content"] for hashed in origin["hashes"]} == expected


def test_a_base_that_was_built_on_is_named_with_its_packages() -> None:
    """The Python that is none of the system's packages, too."""
    purls = {one.get("purl") for one in bill(BASE)["components"]}

    assert {"pkg:generic/python@3.13.15", "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13"} <= purls


def test_the_image_depends_on_all_of_it() -> None:
    """So that a scanner finds each by way of the image."""
    made = bill(BASE)
    (image,) = (one for one in made["dependencies"] if one["ref"] == made["metadata"]["component"]["bom-ref"])

    assert made["metadata"]["component"]["version"] == "1.2.3"
    assert set(image["dependsOn"]) == {one["bom-ref"] for one in made["components"]}


def test_what_breaks_the_schema_is_not_written() -> None:
    """CycloneDX's own, which comes with its library."""
    with pytest.raises(InvalidBom, match="breaks CycloneDX"):
        document("1", [Pinned("fastapi", "1", None, ("no hash",))], None)


def test_no_address_of_a_machine_is_in_it() -> None:
    """Where a package came from is for its reader to know."""
    text = document("1", installed(LOCK, PYTHON), BASE)

    assert "file:" not in text
    assert str(Path.home()) not in text
