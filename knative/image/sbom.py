"""`make sbom`: the bill of materials of the image, as CycloneDX JSON that was held against CycloneDX's own schema.

Of a lock alone it names what is installed. Where the image was built it names the base's packages too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from knative.image import inside
from knative.image.about import ROOT, TAG, about
from knative.image.builders import NoBuilder, find
from knative.image.contents import Pinned, System, installed, python_of_base

_SCHEMA = SchemaVersion.V1_6
LOCK = "requirements-image.txt"


class InvalidBom(Exception):
    """What was written breaks CycloneDX's schema; the message says where."""


def document(version: str, packages: Iterable[Pinned], system: System | None) -> str:
    """The bill as JSON.

    Raises:
        InvalidBom: it is none, by CycloneDX's schema.
    """
    image = Component(name="wake", version=version, type=ComponentType.CONTAINER, bom_ref="wake")
    components = [*map(_distribution, packages), *(_of_system(system) if system is not None else ())]
    bom = Bom(components=components)
    bom.metadata.component = image
    bom.register_dependency(image, components)
    text = make_outputter(bom, OutputFormat.JSON, _SCHEMA).output_as_string(indent=1)
    wrong = JsonStrictValidator(_SCHEMA).validate_str(text)
    if wrong is not None:
        raise InvalidBom(f"the bill breaks CycloneDX {_SCHEMA.to_version()}: {wrong}")
    return text


def _distribution(one: Pinned) -> Component:
    """Its hashes stand with where it came from, because they are those of several files, one of which was installed."""
    purl = PackageURL("pypi", name=one.name, version=one.version)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=content) for content in one.hashes]
    origin = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)), hashes=hashes)
    return Component(
        name=one.name,
        version=one.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        external_references=[origin],
    )


def _of_system(system: System) -> Iterator[Component]:
    python = PackageURL("generic", name="python", version=system.python)
    yield Component(name="python", version=system.python, type=ComponentType.PLATFORM, purl=python, bom_ref=str(python))
    yield Component(
        name=system.distribution,
        version=system.release,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"{system.distribution}@{system.release}",
    )
    distro = f"{system.distribution}-{system.release}"
    for one in system.packages:
        qualifiers = {"arch": one.architecture, "distro": distro}
        purl = PackageURL("deb", system.distribution, one.name, one.version, qualifiers)
        yield Component(name=one.name, version=one.version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl))


def main() -> None:
    """Write it, and say what is in it."""
    parser = argparse.ArgumentParser(prog="python -m knative.image.sbom", description=__doc__)
    parser.add_argument("--tag", default=TAG, help=f"the image, if it was built ({TAG})")
    parser.add_argument("--output", type=Path, default=ROOT / "build/wake.cdx.json", help="where to write it")
    options = parser.parse_args()
    try:
        system = inside.system(find(), options.tag)
    except NoBuilder:
        system = None
    except inside.NotReadable as error:
        sys.exit(str(error))
    python = system.python if system is not None else python_of_base((ROOT / "Containerfile").read_text())
    packages = installed((ROOT / LOCK).read_text(), python)
    try:
        text = document(about()["VERSION"], packages, system)
    except InvalidBom as error:
        sys.exit(str(error))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text + "\n")
    base = (
        f"{len(system.packages)} packages of its base" if system is not None else "not its base: it was not built here"
    )
    print(f"{options.output}: {len(packages)} distributions for Python {python}, and {base}.")


if __name__ == "__main__":
    main()
