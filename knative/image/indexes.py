"""What this machine needs to reach its package index, for the pip inside a build: an address, a certificate, a proxy.

It goes there as secrets, which are mounted for the step that installs and are in no layer: an address may have a
password in it.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Where the build finds its secrets, by the names that the Containerfile gives them.
_CERTIFICATES = "/run/secrets/ca.pem"
_KEPT = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout", "retries")


def settings(listing: str) -> dict[str, str]:
    """The settings that `pip config list` prints, by their bare names; a variable wins over a file, as for pip."""
    found: dict[str, tuple[bool, str]] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        variable = section == ":env:"
        if section in {":env:", "global", "install"} and (variable or not found.get(name, (False, ""))[0]):
            found[name] = (variable, str(ast.literal_eval(value)))
    return {name: value for name, (_, value) in found.items()}


def pip_conf(settings: Mapping[str, str], *, certificates: bool) -> str:
    """What the build's pip reads; folders of this machine cannot be seen from there."""
    lines = ["[global]"]
    for name in _KEPT:
        words = [word for word in settings.get(name, "").split() if not word.startswith(("file:", "/"))]
        if words:
            lines.append(f"{name} = {' '.join(words)}")
    if certificates:
        lines.append(f"cert = {_CERTIFICATES}")
    return "\n".join([*lines, ""])


def certificates(settings: Mapping[str, str], environ: Mapping[str, str]) -> Path | None:
    """The file of certificate authorities that this machine's pip trusts, where one is named."""
    named = (settings.get("cert"), environ.get("REQUESTS_CA_BUNDLE"), environ.get("SSL_CERT_FILE"))
    return next((Path(one) for one in named if one and Path(one).is_file()), None)


def secrets(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """The build's secrets by name; what has to be written is written into *folder*, which others cannot read."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, env=dict(environ)
    )
    found = settings(listing.stdout)
    authorities = certificates(found, environ)
    file = folder / "pip.conf"
    file.touch(mode=0o600)
    file.write_text(pip_conf(found, certificates=authorities is not None))
    return {"pip.conf": file, **({"ca.pem": authorities} if authorities is not None else {})}
