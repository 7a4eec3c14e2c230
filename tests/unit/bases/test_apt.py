from pathlib import Path

import pytest

from drydock.bases import apt
from drydock.errors import ImageError

STANZAS = """\
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://vendor.example/node_20.x
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def test_only_entries_of_the_suite_are_taken_from_one_line_sources():
    text = (
        "# deb http://off.example/debian bookworm main\n"
        "deb [signed-by=/k.gpg arch=amd64] https://mirror.example/debian bookworm main\n"
        "deb https://mirror.example/security bookworm-security main\n"
        "deb-src https://mirror.example/debian bookworm main\n"
        "deb https://vendor.example/cloud cloud-sdk-bookworm main\n"
    )
    kept = apt.debian_entries(text, "bookworm").splitlines()
    assert [line.split()[-2] for line in kept] == ["bookworm", "bookworm-security"]
    assert "signed-by=/k.gpg" in kept[0]


def test_only_enabled_stanzas_of_the_suite_are_taken_whole():
    kept = apt.debian_entries(STANZAS, "bookworm")
    assert "mirror.example" in kept
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" in kept
    assert "vendor.example" not in kept
    assert "off.example" not in kept


def test_a_host_without_debian_sources_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(apt, "HOST_APT", tmp_path)
    with pytest.raises(ImageError, match="no apt source for Debian bookworm"):
        apt.write_sources(tmp_path, "bookworm")


def test_sources_of_both_places_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    host, copies = tmp_path / "apt", tmp_path / "copies"
    (host / "sources.list.d").mkdir(parents=True)
    copies.mkdir()
    (host / "sources.list").write_text("deb http://one.example/debian bookworm main\n")
    (host / "sources.list.d/debian.sources").write_text(STANZAS)
    (host / "sources.list.d/vendor.list").write_text("deb http://vendor.example/x stable main\n")
    monkeypatch.setattr(apt, "HOST_APT", host)
    assert [path.name for path in apt.write_sources(copies, "bookworm")] == ["sources.list", "debian.sources"]


def test_dpkg_runs_in_the_tree_and_the_lists_stay_outside():
    text = apt.configuration(Path("/tree"), Path("/scratch"), ['Acquire::http::Proxy "http://proxy.example"'])
    assert 'DPkg::Chroot-Directory "/tree";\n' in text
    assert 'Dir::State::lists "/scratch/lists";\n' in text
    assert text.endswith('Acquire::http::Proxy "http://proxy.example";\n')


def test_sources_of_another_release_are_the_hosts_own_mirrors():
    lines = (
        "deb [signed-by=/k.gpg arch=amd64] https://mirror.example/bookworm/debian bookworm main\n"
        "deb https://mirror.example/security bookworm-security main\n"
        "deb https://mirror.example/debian bookworm-updates main\n"
    )
    expected = "deb [signed-by=/k.gpg arch=amd64] https://mirror.example/bookworm/debian sid main\n"
    assert apt.entries_of_release(lines, "bookworm", "sid") == expected
    stanzas = STANZAS + "\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n"
    changed = apt.entries_of_release(stanzas, "bookworm", "sid")
    assert "Suites: sid\n" in changed
    assert "Suites: bookworm" not in changed
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" in changed
    assert "security" not in changed
