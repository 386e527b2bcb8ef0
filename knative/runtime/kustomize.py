"""Reads YAML as `kubectl kustomize` does, as far as Wake's overlays need it; any other field is refused by name.

Honoured: resources (files and folders), components, namespace, labels, images, patches (strategic merge and JSON 6902,
inline or by path). Kustomize itself is not needed on a laptop.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

_FIELDS = frozenset(
    {"apiVersion", "kind", "resources", "components", "namespace", "labels", "images", "patches", "metadata"}
)
_CLUSTER_SCOPED = frozenset({"Namespace", "ClusterRole", "ClusterRoleBinding", "GatewayClass"})
Lines = Mapping[tuple[str | int, ...], int]


@dataclass(frozen=True)
class ManifestError(Exception):
    """Something in a file that cannot be taken: where, and why."""

    file: Path
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        """One line: file, line, field, reason."""
        where = f"{_short(self.file)}:{self.line}"
        return f"{where}: {self.field}: {self.reason}" if self.field else f"{where}: {self.reason}"


class ManifestErrors(Exception):
    """All that is wrong with a set of manifests."""

    def __init__(self, errors: list[ManifestError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


@dataclass(frozen=True)
class Document:
    """One object, the file it came from, and the line of each of its fields there."""

    body: dict[str, Any]
    file: Path
    lines: Lines = field(default_factory=dict)
    unlisted: bool = False

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.body.get("kind", ""))

    @property
    def name(self) -> str:
        """The object's name."""
        return str((self.body.get("metadata") or {}).get("name", ""))

    @property
    def namespace(self) -> str:
        """The object's namespace; what has none is in `default`."""
        return str((self.body.get("metadata") or {}).get("namespace", "default"))

    def error(self, path: tuple[str | int, ...], reason: str) -> ManifestError:
        """What is wrong with one field."""
        line = next((self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines), 1)
        return ManifestError(self.file, line, dotted(path), reason)


def dotted(path: tuple[str | int, ...]) -> str:
    """A field's path as people write it: `spec.template.spec.containers[0].image`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def collect(place: Path) -> list[Document]:
    """Every object of a kustomization folder, of a plain folder's YAML files, or of one file.

    Raises:
        ManifestErrors: there is nothing there, or what `build` raises.
    """
    if (place / "kustomization.yaml").exists():
        return build(place)
    if place.is_file():
        return read(place)
    if not place.is_dir():
        raise ManifestErrors([ManifestError(place, 1, "", "there is no such file or folder")])
    files = [one for one in sorted(place.rglob("*.y*ml")) if one.suffix in {".yaml", ".yml"} and _is_ours(one, place)]
    if not files:
        raise ManifestErrors([ManifestError(place, 1, "", "there is no YAML here")])
    return [document for file in files for document in read(file)]


def _is_ours(file: Path, folder: Path) -> bool:
    """Not what tools keep beside it: `.github`, `.venv`, `node_modules`."""
    return not any(part.startswith(".") or part == "node_modules" for part in file.relative_to(folder).parts)


def build(folder: Path) -> list[Document]:
    """Every object of a kustomization, in the order of its files.

    Raises:
        ManifestErrors: a file is missing, no YAML, or asks for something that is not honoured.
    """
    file = folder / "kustomization.yaml"
    if not file.exists():
        raise ManifestErrors([ManifestError(file, 1, "", "there is no such file; a kustomization folder has one")])
    (kustomization,) = read(file)
    _refuse_unknown(kustomization)
    documents, listed = _resources(kustomization)
    documents += _unlisted(folder, listed | {file.resolve()}, kustomization)
    return _transformed(_with_components(documents, kustomization), kustomization)


def _resources(kustomization: Document) -> tuple[list[Document], set[Path]]:
    """The objects of the folders and files that a kustomization lists, and the files."""
    documents: list[Document] = []
    listed: set[Path] = set()
    for index, entry in enumerate(kustomization.body.get("resources") or []):
        path = (kustomization.file.parent / entry).resolve()
        if path.is_dir():
            documents += build(path)
            continue
        if not path.exists():
            raise ManifestErrors([kustomization.error(("resources", index), f"there is no file {entry}")])
        listed.add(path)
        documents += read(path)
    return documents, listed


def _with_components(documents: list[Document], kustomization: Document) -> list[Document]:
    """What a kustomization's components add to its objects, and change in all of them."""
    for entry in kustomization.body.get("components") or []:
        (component,) = read((kustomization.file.parent / entry).resolve() / "kustomization.yaml")
        _refuse_unknown(component)
        added, _ = _resources(component)
        documents = _transformed(_with_components(documents + added, component), component)
    return documents


def _unlisted(folder: Path, listed: set[Path], kustomization: Document) -> list[Document]:
    """Objects in files below a base that it forgot to list: they run here, and are reported."""
    if folder.name != "base":
        return []
    patches = {(folder / one["path"]).resolve() for one in kustomization.body.get("patches") or [] if "path" in one}
    found = sorted(path.resolve() for path in folder.rglob("*.yaml"))
    return [
        Document(one.body, one.file, one.lines, unlisted=True)
        for path in found
        if path not in listed | patches
        for one in read(path)
    ]


def read(file: Path) -> list[Document]:
    """The documents of one file.

    Raises:
        ManifestErrors: it is no YAML, a document is no object, or a name stands twice.
    """
    try:
        nodes = list(yaml.compose_all(file.read_text(), Loader=yaml.CSafeLoader))
    except OSError as error:
        raise ManifestErrors([ManifestError(file, 1, "", f"{error.strerror}")]) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ManifestErrors([ManifestError(file, line, "", f"this is not YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise ManifestErrors([ManifestError(file, 1, "", f"this is not YAML: {error}")]) from error
    documents = []
    for node in nodes:
        if node is None:
            continue
        lines: dict[tuple[str | int, ...], int] = {}
        body = _constructed(node, (), lines, file)
        if not isinstance(body, dict):
            raise ManifestErrors([ManifestError(file, node.start_mark.line + 1, "", "a document is an object")])
        documents.append(Document(body, file, lines))
    return documents


def _constructed(
    node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], file: Path
) -> Any:
    """The value of a node; where each part of it stands is noted in *lines*."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            lines[(*path, key)] = key_node.start_mark.line + 1
            if key in mapping:
                error = ManifestError(
                    file, key_node.start_mark.line + 1, dotted((*path, key)), "this stands here twice"
                )
                raise ManifestErrors([error])
            mapping[key] = _constructed(value_node, (*path, key), lines, file)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_constructed(one, (*path, index), lines, file) for index, one in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


def _refuse_unknown(kustomization: Document) -> None:
    unknown = [name for name in kustomization.body if name not in _FIELDS]
    if unknown:
        raise ManifestErrors(
            [
                kustomization.error((name,), f"this is not honoured here{did_you_mean(name, _FIELDS)}")
                for name in unknown
            ]
        )


def did_you_mean(name: str, known: Any) -> str:
    """A hint at the name that was probably meant."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def _transformed(documents: list[Document], kustomization: Document) -> list[Document]:
    """What a kustomization changes in its objects."""
    spec = kustomization.body
    changed = [Document(copy.deepcopy(one.body), one.file, one.lines, one.unlisted) for one in documents]
    for index, patch in enumerate(spec.get("patches") or []):
        changed = _patched(changed, patch, kustomization, index)
    for one in changed:
        if (namespace := spec.get("namespace")) is not None and one.kind not in _CLUSTER_SCOPED:
            one.body.setdefault("metadata", {})["namespace"] = namespace
        for labels in spec.get("labels") or []:
            one.body.setdefault("metadata", {}).setdefault("labels", {}).update(labels.get("pairs") or {})
        for image in spec.get("images") or []:
            _set_image(one.body, image)
    return changed


def _set_image(value: Any, image: Mapping[str, str]) -> None:
    """Rename an image wherever a container names it."""
    if isinstance(value, list):
        for one in value:
            _set_image(one, image)
    elif isinstance(value, dict):
        named = value.get("image")
        if isinstance(named, str) and named.partition("@")[0].rpartition(":")[0] in {image["name"]} | {""}:
            base, _, tag = named.partition(":")
            if base == image["name"]:
                digest = image.get("digest")
                suffix = f"@{digest}" if digest else f":{image.get('newTag', tag or 'latest')}"
                value["image"] = image.get("newName", base) + suffix
        for one in value.values():
            _set_image(one, image)


def _patched(
    documents: list[Document], patch: Mapping[str, Any], kustomization: Document, index: int
) -> list[Document]:
    if "path" in patch:
        bodies: list[Any] = [
            one.body if isinstance(one, Document) else one
            for one in _read_patch(kustomization.file.parent / patch["path"])
        ]
    else:
        bodies = list(yaml.safe_load_all(patch.get("patch", "")))
    for body in bodies:
        target = patch.get("target") or {"kind": body.get("kind"), "name": (body.get("metadata") or {}).get("name")}
        hit = [one for one in documents if _is_target(one, target)]
        # A component goes with several overlays, and need not find in each what it changes.
        if not hit and not ("target" in patch and kustomization.kind == "Component"):
            raise ManifestErrors([kustomization.error(("patches", index), f"no object is what this is for: {target}")])
        for one in hit:
            if isinstance(body, list):
                _apply_operations(one.body, body)
            else:
                _merge(one.body, body)
    return [one for one in documents if one.body.get("$patch") != "delete"]


def _read_patch(file: Path) -> list[Any]:
    try:
        return [one for one in yaml.safe_load_all(file.read_text()) if one]
    except (OSError, yaml.YAMLError) as error:
        raise ManifestErrors([ManifestError(file, 1, "", str(error))]) from error


def _is_target(document: Document, target: Mapping[str, Any]) -> bool:
    """A target's fields are patterns for the whole of what they are compared with, as in kustomize."""
    group, slash, _ = str(document.body.get("apiVersion", "")).partition("/")
    own = {
        "group": group if slash else "",
        "kind": document.kind,
        "name": document.name,
        "namespace": document.namespace,
    }
    return all(value is None or re.fullmatch(str(value), own[key]) for key, value in target.items() if key in own)


def _merge(into: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Strategic merge: objects are merged, lists of named things by name, other lists replaced, null deletes."""
    for key, value in patch.items():
        present = into.get(key)
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(present, dict):
            _merge(present, value)
        elif isinstance(value, list) and isinstance(present, list) and _named(value) and _named(present):
            for one in value:
                match = next((other for other in present if other["name"] == one["name"]), None)
                if match is None:
                    present.append(one)
                else:
                    _merge(match, one)
        else:
            into[key] = value


def _named(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(one, dict) and "name" in one for one in values)


def _apply_operations(body: dict[str, Any], operations: list[Mapping[str, Any]]) -> None:
    """JSON Patch (RFC 6902): add, replace, remove."""
    for operation in operations:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in str(operation["path"]).lstrip("/").split("/")
        ]
        target: Any = body
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
        verb = operation["op"]
        if isinstance(target, list):
            position = len(target) if last == "-" else int(last)
            if verb == "add":
                target.insert(position, operation["value"])
            elif verb == "replace":
                target[position] = operation["value"]
            else:
                del target[position]
        elif verb == "remove":
            del target[last]
        else:
            target[last] = operation["value"]


def _short(file: Path) -> Path:
    try:
        return file.resolve().relative_to(Path.cwd())
    except ValueError:
        return file
