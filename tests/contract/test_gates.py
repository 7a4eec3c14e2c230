"""The gates that `--skip` can turn off, secrets and licenses, with the real gitleaks and npm."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import dagger
import pytest

from pipeline import images
from pipeline.check.gates import SkippableGate
from pipeline.core.errors import GateClosedError, InvalidInputError, StageFailedError
from pipeline.slipway import Slipway

Make = Callable[..., Slipway]
Scanner = Callable[[str], dagger.Container]

# In parts, so that this file holds none.
LINE = "-----{} RSA " + "PRIVATE KEY-----\n"
KEY = LINE.format("BEGIN") + "MIIEowIBAAKCAQEAx9f2mT7QeJ4kz\n" * 5 + LINE.format("END")
TOKEN = "ghp_" + "wJ8mKq2Rz7Lx4Vn9Tb3Yc6Hd1Fs5Gp0AqEuX"
ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


async def test_a_secret_closes_the_gate_and_is_not_shown(make: Make):
    slipway = make({"service/src/config.js": f'// line 1\nexport const token = "{TOKEN}";\n', "deploy.pem": KEY})
    with pytest.raises(GateClosedError, match="secrets: 2 in the source") as caught:
        await slipway.check()
    assert "service/src/config.js:github-pat:2" in str(caught.value)
    assert "deploy.pem:private-key:1" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "MIIEow" not in str(caught.value)


async def test_this_repository_holds_no_secret(dag: dagger.Client, tmp_path: Path, commit_all: Callable[[Path], str]):
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = (await anyio.run_process(listed, cwd=ROOT)).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name, follow_symlinks=False)
    commit_all(tmp_path)
    source = dag.host().directory(str(tmp_path), no_cache=True)
    assert await Slipway(source=source, path="app").secrets() == "no secrets found"


async def test_files_that_git_ignores_are_not_searched(make: Make, repository: Path):
    (repository / "local env").mkdir()
    (repository / "local env" / "key.pem").write_text(KEY)
    (repository / ".env").write_text(f"TOKEN={TOKEN}\n")
    assert await make({".gitignore": ".env\nlocal env/\n"}).secrets() == "no secrets found"


async def test_a_committed_file_is_searched_although_git_ignores_it(make: Make):
    make({".env": f"TOKEN={TOKEN}\n"})
    with pytest.raises(GateClosedError, match=r"\.env:github-pat:1"):
        await make({".gitignore": ".env\n"}).secrets()


async def test_a_marked_false_positive_passes(make: Make):
    marked = f'export const token = "{TOKEN}"; // gitleaks:allow\n'
    assert await make({"service/src/config.js": marked}).secrets() == "no secrets found"


async def test_the_gate_reports_fingerprints_as_gitleaksignore_has_them(make: Make):
    files = {"deploy.pem": KEY, "service/src/config.js": f'export const token = "{TOKEN}";\n'}
    with pytest.raises(GateClosedError) as caught:
        await make(files).secrets()
    fingerprints = "".join(f"{line}\n" for line in caught.value.output.splitlines())
    assert await make({".gitleaksignore": fingerprints}).secrets() == "no secrets found"


RULES = '[extend]\nuseDefault = true\n[allowlist]\npaths = ["{path}"]\n'


async def test_rules_of_the_repository_apply_and_are_reported(make: Make):
    summary = await make({"deploy.pem": KEY, ".gitleaks.toml": RULES.format(path="^deploy[.]pem$")}).secrets()
    assert summary == "no secrets found, by the rules of .gitleaks.toml"
    with pytest.raises(GateClosedError, match=r"other\.pem:private-key:1"):
        await make({"other.pem": KEY}).secrets()


@pytest.mark.parametrize("rules", ['title = "x"\n', RULES.format(path=".*")])
async def test_rules_that_find_no_secret_at_all_close_the_gate(make: Make, rules: str):
    with pytest.raises(StageFailedError, match="finds none of Slipway's sample secrets"):
        await make({".gitleaks.toml": rules}).secrets()


async def test_an_ignored_file_with_a_name_like_a_pattern_hides_nothing(make: Make, repository: Path):
    slipway = make({".gitignore": "\\*\n", "deploy.pem": KEY})
    (repository / "*").write_text("ignored")
    with pytest.raises(GateClosedError, match=r"deploy\.pem:private-key:1"):
        await slipway.secrets()


async def test_gitleaks_that_cannot_run_is_no_finding(make: Make):
    with pytest.raises(StageFailedError, match="gitleaks could not run"):
        await make({".gitleaks.toml": "this is [not toml"}).secrets()


async def test_an_unreachable_image_of_gitleaks_does_not_pass(make: Make):
    with pytest.raises(StageFailedError, match="cannot pull localhost:1/gitleaks:v8") as caught:
        await make(gitleaks_image="localhost:1/gitleaks:v8").secrets()
    assert "--skip secrets" in str(caught.value)


async def test_an_image_without_gitleaks_does_not_pass(make: Make):
    with pytest.raises(StageFailedError):
        await make(gitleaks_image=images.NODE).secrets()


def packages(*names: str) -> dict[str, str]:
    """Return the manifests of a service with some of the packages of tests/fixtures/licenses."""
    service = json.loads((FIXTURES / "service" / "package.json").read_text())
    lock = json.loads((FIXTURES / "licenses.json").read_text())
    dependencies = {name: lock["packages"][f"node_modules/{name}"]["version"] for name in names}
    service["dependencies"] = lock["packages"][""]["dependencies"] = dependencies
    return {"service/package.json": json.dumps(service), "service/package-lock.json": json.dumps(lock)}


IGNORE = """
licenses:
  - id: "@fingerprintjs/fingerprintjs@4.6.2"
    statement: the production use grant covers us
    expired_at: 2099-12-31
"""


async def test_a_forbidden_license_closes_the_gate(make: Make):
    with pytest.raises(GateClosedError, match="1 of the production dependencies have a forbidden license") as caught:
        await make(packages("@fingerprintjs/fingerprintjs", "tslib", "node-forge")).check()
    assert "@fingerprintjs/fingerprintjs@4.6.2: BUSL-1.1" in str(caught.value)
    assert "node-forge" not in str(caught.value)


async def test_an_ignore_of_a_license_with_reason_and_date_passes(make: Make):
    files = packages("@fingerprintjs/fingerprintjs", "tslib", "node-forge") | {"service/.trivyignore.yaml": IGNORE}
    assert await make(files).licenses() == "3 production dependencies"


async def test_the_scan_does_not_use_the_ignore_of_a_license(make: Make, scanner: Scanner):
    slipway = make({"service/.trivyignore.yaml": IGNORE}).with_scanner(scanner("clean"))
    image = await (await (await slipway.check()).build()).scan()
    assert image.verdict.warnings == []


async def test_gates_are_skipped_by_name_and_the_report_says_so(
    make: Make, scanner: Scanner, capsys: pytest.CaptureFixture[str]
):
    slipway = make({"deploy.pem": KEY})
    slipway.skip = [SkippableGate.SECRETS]
    shipment = await slipway.with_scanner(scanner("clean")).ship()
    assert "skipped gates: secrets" in await shipment.summary()
    assert "**Skipped gates:** secrets" in shipment.markdown
    assert json.loads(shipment.document)["skipped"] == ["secrets"]
    assert "secrets: SKIPPED by --skip" in capsys.readouterr().out


async def test_a_malformed_ignore_of_a_license_is_refused(make: Make):
    with pytest.raises(InvalidInputError, match="has no reason"):
        await make({"service/.trivyignore.yaml": "licenses:\n  - id: a\n    expired_at: 2099-12-31\n"}).licenses()
