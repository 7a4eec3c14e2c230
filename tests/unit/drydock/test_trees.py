"""Paths in trees, and which of them are meant."""

import os
from pathlib import Path

import pytest

from drydock.diff import compare
from drydock.edit import parse_owner, target_path
from drydock.errors import DrydockError, PathNotFoundError
from drydock.tree import Selection, digest, join, resolve
from drydock.users import look_up, owner_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("etc/passwd", "src/a.ts", "src/deep/b.ts", "src/deep/b.log", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_links_are_followed_inside_the_tree_only(root: Path):
    (root / "absolute").symlink_to("/etc")
    (root / "up").symlink_to("../../../../etc")
    for path in ("absolute/passwd", "up/passwd", "../../etc/passwd", "/etc/./passwd"):
        assert resolve(str(root), path) == f"{root}/etc/passwd"
    assert resolve(str(root), "absolute", follow_last=False) == f"{root}/absolute"


def test_a_loop_of_links_is_an_error(root: Path):
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    with pytest.raises(PathNotFoundError, match="one"):
        resolve(str(root), "one/x")


def walked(root: Path, **selection: object) -> list[str]:
    return [path for path, _ in Selection(**selection).walk(str(root))]  # type: ignore[arg-type]


def test_directories_come_along_only_with_what_is_included_below_them(root: Path):
    assert walked(root, include=("**/*.ts",)) == ["src", "src/a.ts", "src/deep", "src/deep/b.ts"]


def test_excluded_directories_are_left_out_with_all_they_hold(root: Path):
    assert walked(root, exclude=("src/deep", "etc")) == ["README.md", "empty", "src", "src/a.ts"]


def test_what_is_taken_back_below_an_excluded_directory_is_found(root: Path):
    assert walked(root, exclude=("src", "etc", "!src/a.ts")) == ["README.md", "empty", "src", "src/a.ts"]


def test_a_digest_tells_names_modes_and_bytes_but_not_times(root: Path):
    before = digest(str(root))
    os.utime(root / "README.md", (1, 1))
    assert digest(str(root)) == before
    (root / "README.md").chmod(0o600)
    changed = digest(str(root))
    assert changed != before
    (root / "README.md").write_text("other")
    assert digest(str(root)) not in (before, changed)


def test_a_comparison_lists_a_removed_directory_once(root: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("other")
    (other / "README.md").write_text("changed")
    (other / "etc").mkdir()
    (other / "etc" / "passwd").write_text("etc/passwd")
    (other / "new" / "sub").mkdir(parents=True)
    found = compare(str(root), str(other))
    assert found.added == ("new/", "new/sub/")
    assert found.modified == ("README.md",)
    assert found.removed == ("empty/", "src/")


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("/a", "b", "/a/b"),
        ("/a", "/b", "/b"),
        ("", "b", "/b"),
        ("/a", "../../b", "/b"),
        ("/", "//b/", "/b"),
        ("/", ".", "/"),
    ],
)
def test_paths_are_joined_as_in_a_shell(base: str, path: str, expected: str):
    assert join(base, path) == expected


def test_a_path_that_ends_in_a_slash_keeps_the_name():
    assert target_path("dir/", "name") == "/dir/name"
    assert target_path("other", "name") == "/other"


def test_an_owner_is_a_number_or_two():
    assert (parse_owner("") is None, parse_owner("7").gid, parse_owner("7:8").gid) == (True, 7, 8)  # type: ignore[union-attr]
    with pytest.raises(DrydockError, match="node"):
        parse_owner("node")


PASSWD = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\n"
GROUP = "root:x:0:\nnode:x:1001:\nextra:x:50:node\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,), "/root")),
        ("node", (1000, 1001, (50, 1001), "/home/node")),
        ("1000", (1000, 1001, (50, 1001), "/home/node")),
        ("4711", (4711, 0, (0,), "/")),
        ("4711:42", (4711, 42, (), "/")),
        ("node:extra", (1000, 50, (), "/home/node")),
    ],
)
def test_a_user_is_looked_up_in_the_containers_own_files(tmp_path: Path, user: str, expected: tuple[object, ...]):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    found = look_up(str(tmp_path), user)
    assert (found.uid, found.gid, found.groups, found.home) == expected


def test_an_owner_without_group_has_the_same_number_twice(tmp_path: Path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    assert owner_of(str(tmp_path), "node") == (1000, 1000)
    assert owner_of(str(tmp_path), "1:2") == (1, 2)
