"""The files of the repository for contributors: hooks, issue forms, owners, decisions."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
DECISIONS = ROOT / "docs" / "decisions"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def test_hooks_use_the_projects_own_tools():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    entries = [hook["entry"].split() for hook in config["repos"][0]["hooks"]]
    for program, *arguments in entries:
        assert program.startswith(".venv/bin/")
        assert (Path(sys.executable).parent / Path(program).name).exists(), program
        assert [word for word in arguments if "/" in word and not (ROOT / word).exists()] == []
    assert {Path(entry[0]).name for entry in entries} >= {"ruff", "mypy", "zizmor"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_of_the_form_that_github_reads(path: Path):
    form: dict[str, Any] = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    for field in fields:
        assert field["type"] in {"input", "textarea", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]
        assert field["attributes"].get("options") or field["type"] not in {"dropdown", "checkboxes"}


def test_there_are_forms_for_bugs_and_features():
    assert [path.stem for path in FORMS] == ["bug", "feature"]


def test_owners_are_of_what_is_there():
    rules = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0][0] == "*"
    for pattern, *owners in rules:
        assert owners
        assert all(re.fullmatch(r"@[\w-]+/[\w-]+", owner) for owner in owners)
        assert pattern == "*" or (ROOT / pattern.strip("/")).exists(), pattern


def test_dependabot_looks_after_every_lock_file():
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    listed = {update["package-ecosystem"]: update.get("directories") or [update["directory"]] for update in updates}
    for ecosystem, lock in (("uv", "uv.lock"), ("npm", "package-lock.json")):
        files = [
            file.relative_to(ROOT)
            for name in ("", "app", "examples/*")
            for file in ROOT.glob(f"{name}/{lock}".lstrip("/"))
        ]
        assert sorted(listed[ecosystem]) == sorted(f"/{file.parent}".removesuffix(".") for file in files)


def test_decisions_are_numbered_listed_and_short():
    notes = sorted(DECISIONS.glob("0*.md"))
    assert [int(note.name[:4]) for note in notes] == list(range(1, len(notes) + 1))
    index = (DECISIONS / "README.md").read_text()
    for number, note in enumerate(notes, 1):
        text = note.read_text()
        title = text.splitlines()[0].removeprefix(f"# {number}. ")
        assert f"{number}. [{title}]({note.name})" in index
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert 20 <= len(text.splitlines()) <= 40, note.name


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            target, _, anchor = link.partition("#")
            if "://" in link:
                continue
            file = (page.parent / target).resolve() if target else page
            if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_a_heading_has_the_anchor_that_github_makes():
    assert anchors("# Delivering to Kubernetes\n## `invalid-input`\n") == {"delivering-to-kubernetes", "invalid-input"}
