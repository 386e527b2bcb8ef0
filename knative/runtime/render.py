"""What `wake render` prints: the YAML as it is, for a cluster without Knative, as a plain Envoy, for kn, for Lambda."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import yaml

from knative.runtime import admission, kn, kubernetes, manifests, plain_envoy, sam
from knative.runtime.kustomize import Document, ManifestErrors

Form = Literal["knative", "kubernetes", "envoy", "kn", "sam"]


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block, and what stands in two places twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Anchors are for machines."""
        return data is not None


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def text(documents: Iterable[Document], form: Form) -> str:
    """The YAML in this form.

    Raises:
        ManifestErrors: it is not as it should be.
        NotRenderable: it has something that plain Kubernetes, or Lambda, has no equivalent of.
    """
    documents = list(documents)
    if form == "knative":
        return _dumped(one.body for one in documents)
    errors = admission.check(documents)
    if errors:
        raise ManifestErrors(errors)
    if form == "kubernetes":
        return _dumped(kubernetes.render(documents))
    if form == "sam":
        template, left_out = sam.render(documents)
        return "".join(f"# {line}\n" for line in ("Left out:", *(f"- {one}" for one in left_out))) + _dumped([template])
    platform = manifests.platform(documents)
    if form == "kn":
        return kn.commands(platform)
    return _dumped(plain_envoy.objects(platform, next(iter(platform.services))[0]))


def _dumped(bodies: Iterable[Any]) -> str:
    return yaml.dump_all(bodies, Dumper=_Dumper, sort_keys=False, width=120)
