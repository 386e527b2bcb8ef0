"""What of this machine's pip settings a build is told."""

from __future__ import annotations

import stat
from configparser import ConfigParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from knative.image.indexes import certificates, pip_conf, secrets, settings

LISTING = """:env:.cert='/etc/ssl/mine.pem'
:env:.index-url='https://me:secret@index.example/simple'
global.extra-index-url='file:///wheels https://other.example/simple'
global.index-url='https://index.example/plain'
install.trusted-host='index.example'
wheel.index-url='https://not.example'
"""


def test_a_variable_wins_over_a_file_as_for_pip() -> None:
    """And other commands' sections are not an install's."""
    assert settings(LISTING) == {
        "cert": "/etc/ssl/mine.pem",
        "index-url": "https://me:secret@index.example/simple",
        "extra-index-url": "file:///wheels https://other.example/simple",
        "trusted-host": "index.example",
    }


def test_folders_of_this_machine_are_left_out() -> None:
    """The build cannot see them; hashes hold whatever it finds elsewhere."""
    assert pip_conf(settings(LISTING), certificates=True).splitlines() == [
        "[global]",
        "index-url = https://me:secret@index.example/simple",
        "extra-index-url = https://other.example/simple",
        "trusted-host = index.example",
        "cert = /run/secrets/ca.pem",
    ]


def test_a_normal_machine_says_nothing() -> None:
    """pip's own defaults hold."""
    assert pip_conf(settings(""), certificates=False) == "[global]\n"


@given(st.dictionaries(st.sampled_from(["index-url", "proxy", "retries"]), st.text("abc:/%.1 ", min_size=1)))
def test_what_is_written_can_be_read(given_settings: dict[str, str]) -> None:
    """Whatever an address has in it."""
    read = ConfigParser(interpolation=None)
    read.read_string(pip_conf(given_settings, certificates=False))

    assert set(read["global"]) <= set(given_settings)


def test_the_certificates_are_those_that_pip_would_trust(tmp_path: Path) -> None:
    """Its setting first, then what its own HTTP client reads."""
    mine, other = tmp_path / "mine.pem", tmp_path / "other.pem"
    mine.touch()
    other.touch()

    assert certificates({"cert": str(mine)}, {"REQUESTS_CA_BUNDLE": str(other)}) == mine
    assert certificates({}, {"REQUESTS_CA_BUNDLE": str(other)}) == other
    assert certificates({"cert": str(tmp_path / "none")}, {}) is None


def test_what_is_written_is_for_its_owner_alone(tmp_path: Path) -> None:
    """An address may have a password in it."""
    made = secrets(
        tmp_path, {"PIP_INDEX_URL": "https://me:secret@index.example/simple", "PIP_CONFIG_FILE": "/dev/null"}
    )

    assert made["pip.conf"].read_text() == "[global]\nindex-url = https://me:secret@index.example/simple\n"
    assert stat.S_IMODE(made["pip.conf"].stat().st_mode) == 0o600
