"""The version: a Git tag, which pyproject, lock file, changelog and documentation must agree with."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADING = re.compile(r"^## \[(.+?)\](?: - (.+))?$", re.MULTILINE)
VERSION = re.compile(r"\d+\.\d+\.\d+")
REFERENCE = re.compile(r"slipway(?:/[\w./-]+)?@v(\d[\w.]*)")


def disagreements(version: str, locked: str, changelog: str, pages: dict[str, str], tags: list[str]) -> list[str]:
    """Return what does not agree with a version.

    Args:
        version: of pyproject.toml.
        locked: of uv.lock.
        changelog: text of CHANGELOG.md.
        pages: text of the documentation, by name.
        tags: those of the present commit.
    """
    found = []
    headings = HEADING.findall(changelog)
    released = [name for name, _ in headings if name != "Unreleased"]
    if not VERSION.fullmatch(version):
        found.append(f"pyproject.toml: {version} is not of the form X.Y.Z")
    if locked != version:
        found.append(f"uv.lock has {locked}, pyproject.toml has {version}")
    if [name for name, _ in headings][:1] != ["Unreleased"]:
        found.append("CHANGELOG.md does not begin with [Unreleased]")
    if released and released[0] != version:
        found.append(f"CHANGELOG.md: the newest version is {released[0]}, pyproject.toml has {version}")
    ordered = sorted(
        released, key=lambda name: [int(number) for number in VERSION.findall(name)[0].split(".")], reverse=True
    )
    if released != ordered:
        found.append("CHANGELOG.md: the newest version is not the first")
    found += [
        f"CHANGELOG.md: {name} has no date"
        for name, date in headings
        if name != "Unreleased" and not re.fullmatch(r"\d{4}-\d\d-\d\d", date)
    ]
    found += [
        f"{page} refers to v{shown}, pyproject.toml has {version}"
        for page, text in pages.items()
        for shown in REFERENCE.findall(text)
        if shown != version
    ]
    for tag in tags:
        if tag != f"v{version}":
            found.append(f"the commit has the tag {tag}, pyproject.toml has {version}")
        elif version not in released:
            found.append(f"the commit has the tag {tag}, which CHANGELOG.md does not list")
    return found


def test_tag_pyproject_lock_file_changelog_and_documentation_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    locked = next(package["version"] for package in packages if package["name"] == project["name"])
    pages = {page.name: page.read_text() for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}
    git = ["git", "-C", str(ROOT), "tag", "--points-at", "HEAD", "--list", "v*"]
    in_git = (ROOT / ".git").exists()
    tags = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split() if in_git else []
    changelog = pages.pop("CHANGELOG.md")
    found = disagreements(project["version"], locked, changelog, pages, tags)
    assert not found, "\n".join(found)


RELEASED = "## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n## [1.1.0] - 2026-11-01\n"


def test_a_released_version_agrees():
    pages = {
        "github.md": "uses: OWNER/slipway/.github/workflows/ship.yml@v1.2.0",
        "README.md": "actions/checkout@v7.0.1",
    }
    assert disagreements("1.2.0", "1.2.0", RELEASED, pages, ["v1.2.0"]) == []
    assert disagreements("0.1.0", "0.1.0", "## [Unreleased]\n", {}, []) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"version": "1.2"}, "not of the form X.Y.Z"),
        ({"locked": "1.1.0"}, "uv.lock has 1.1.0"),
        ({"changelog": "## [1.2.0] - 2026-12-01\n"}, "does not begin with [Unreleased]"),
        ({"changelog": "## [Unreleased]\n\n## [1.1.0] - 2026-11-01\n"}, "the newest version is 1.1.0"),
        ({"changelog": f"{RELEASED}## [1.10.0] - 2026-10-01\n"}, "the newest version is not the first"),
        ({"changelog": "## [Unreleased]\n\n## [1.2.0]\n"}, "1.2.0 has no date"),
        ({"changelog": "## [Unreleased]\n", "tags": ["v1.2.0"]}, "which CHANGELOG.md does not list"),
        ({"pages": {"github.md": "dagger -m github.com/OWNER/slipway@v1.1.0 call ship"}}, "github.md refers to v1.1.0"),
        ({"tags": ["v1.3.0"]}, "has the tag v1.3.0"),
    ],
)
def test_what_does_not_agree_is_found(changed: dict[str, object], problem: str):
    agreeing: dict[str, object] = {
        "version": "1.2.0",
        "locked": "1.2.0",
        "changelog": RELEASED,
        "pages": {},
        "tags": ["v1.2.0"],
    }
    found = disagreements(**{**agreeing, **changed})  # type: ignore[arg-type]
    assert any(problem in line for line in found), found
