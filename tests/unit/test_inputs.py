import json
from typing import Any

import pytest

from pipeline.build.build import check_platforms, labels
from pipeline.core.errors import InvalidInputError, StageFailedError, joined, tail
from pipeline.core.execution import check_positive
from pipeline.oci.references import Repository
from pipeline.oci.registry import Registry, check_registry
from pipeline.scan.scan import check_severities
from pipeline.source.commit import Commit, check_releasable, parse_sha, submodules_of
from pipeline.source.git import safe_config, without_credentials
from pipeline.source.project import parse_package


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://github.com/org/app.git", "https://github.com/org/app"),
        ("https://user:token@github.com/org/app.git", "https://github.com/org/app"),
        ("https://token@git.example.com:8443/app", "https://git.example.com:8443/app"),
        ("git@github.com:org/app.git", "https://github.com/org/app"),
        ("ssh://git@github.com/org/app.git", "https://github.com/org/app"),
        ("/srv/git/app", ""),
        ("", ""),
    ],
)
def test_an_images_source_label_never_holds_a_credential(url: str, shown: str):
    assert without_credentials(url) == shown


def test_of_a_repositorys_configuration_only_its_format_is_used():
    listed = {
        "core.repositoryformatversion": "1",
        "core.worktree": "/elsewhere",
        "extensions.objectformat": "sha256",
        "extensions.worktreeconfig": "true",
        "filter.evil.clean": "touch /tmp/mark",
        "remote.origin.url": "https://user:token@github.com/org/app.git",
    }
    config, url = safe_config("".join(f"{key}\n{value}\0" for key, value in listed.items()))
    assert config == "[core]\n    repositoryformatversion = 1\n[extensions]\n    objectformat = sha256\n"
    assert url == "https://github.com/org/app"


def test_a_configuration_cannot_smuggle_in_a_section():
    assert safe_config("extensions.objectformat\nsha1\n[filter]\0") == ("", "")


def test_submodules_are_found_in_the_index():
    listed = "100644 aa 0\tapp/a\0" + "160000 bb 0\tapp/lib\0"
    assert submodules_of(listed) == ["S  app/lib (submodule)"]


@pytest.mark.parametrize(
    ("address", "username", "password", "problem"),
    [
        ("", "", None, "registry '' is not a repository address"),
        ("ghcr.io/org/app", "me", None, "--username and --password come together"),
        ("ghcr.io/org/app", "", object(), "--username and --password come together"),
    ],
)
def test_an_incomplete_registry_is_refused(address: str, username: str, password: Any, problem: str):
    registry = Registry(address=address, tool_image="node", username=username, password=password)
    with pytest.raises(InvalidInputError, match=problem):
        check_registry(registry)


def test_credentials_go_to_their_own_host_only():
    password: Any = object()
    registry = Registry(address="ghcr.io/org/app", tool_image="node", username="me", password=password)
    assert registry.for_repository(Repository.parse("ghcr.io/org/other")).username == "me"
    other = registry.for_repository(Repository.parse("registry.example.com/org/app"))
    assert (other.username, other.password) == ("", None)


@pytest.mark.parametrize("value", [0, -1])
def test_a_wait_of_no_time_is_refused(value: int):
    with pytest.raises(InvalidInputError, match=f"--seconds {value} is not positive"):
        check_positive("seconds", value)


def test_labels_leave_out_what_is_unknown():
    known = labels(Commit(sha="unversioned"), "app")
    assert set(known) == {"org.opencontainers.image.title", "org.opencontainers.image.revision"}


@pytest.mark.parametrize("sha", ["", "main", "abc123", "A" * 40, "a" * 40 + "\n"])
def test_only_a_full_hash_is_a_commit(sha: str):
    with pytest.raises(InvalidInputError):
        parse_sha(sha)


def test_only_a_clean_commit_is_releasable():
    check_releasable(Commit(sha="a" * 40))
    for commit in (Commit(sha="a" * 40, dirty=True), Commit(sha="unversioned", dirty=True)):
        with pytest.raises(InvalidInputError, match="may only be rehearsed"):
            check_releasable(commit)


def test_a_dirty_trees_tag_says_so():
    assert Commit(sha="a" * 40).tag == "a" * 12
    assert Commit(sha="a" * 40, dirty=True).tag == "a" * 12 + "-dirty"


def test_the_name_of_a_scoped_package_is_its_last_part():
    assert parse_package('{"name": "@org/app", "scripts": {"lint": "x"}}', ["lint"]) == "app"


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"'])
def test_a_manifest_that_is_no_object_is_refused(text: str):
    with pytest.raises(InvalidInputError, match=r"package\.json"):
        parse_package(text, [])


@pytest.mark.parametrize("scripts", ["null", '"lint"', "[]", "7"])
def test_scripts_that_are_no_object_are_refused(scripts: str):
    with pytest.raises(InvalidInputError, match="scripts are not an object"):
        parse_package(f'{{"scripts": {scripts}}}', ["lint"])


@pytest.mark.parametrize("name", ["My App", "UPPER", "a;b", "-x", "naïve"])
def test_a_name_that_no_image_can_have_is_refused(name: str):
    with pytest.raises(InvalidInputError, match="cannot name an image"):
        parse_package(json.dumps({"name": name}), [])


def test_every_missing_script_is_named():
    with pytest.raises(InvalidInputError, match="'lint', 'build'"):
        parse_package('{"scripts": {"test": "x"}}', ["lint", "test", "build"])


@pytest.mark.parametrize("platforms", [["windows/amd64"], ["linux"], ["linux/"], ["linux/amd64", "linux/amd64"]])
def test_a_platform_of_another_form_is_refused(platforms: list[str]):
    with pytest.raises(InvalidInputError):
        check_platforms(platforms)


def test_platforms_are_kept_in_their_order():
    assert check_platforms(["linux/arm64", "linux/amd64"]) == ["linux/arm64", "linux/amd64"]
    assert check_platforms(None) == [""]


def test_a_severity_that_trivy_does_not_know_is_refused():
    assert check_severities([]) == ["CRITICAL", "HIGH"]
    with pytest.raises(InvalidInputError, match="AWFUL"):
        check_severities(["HIGH", "AWFUL"])


def test_several_failures_are_all_shown():
    shown = str(joined([StageFailedError("lint: no", output="a"), StageFailedError("test: no", output="b")]))
    assert shown.startswith("2 failures: lint, test")
    assert "    a" in shown
    assert "    b" in shown


def test_of_a_long_output_the_last_lines_are_kept():
    assert tail("\n".join(map(str, range(100))), 3) == "97\n98\n99"
