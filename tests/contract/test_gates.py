"""The gates of the source that can be turned off by name: secrets and licenses, by the real gitleaks and npm."""

import json
from collections.abc import Callable
from pathlib import Path

import dagger
import pytest

from pipeline import images
from pipeline.check.gates import Gate
from pipeline.core.errors import GateClosedError, InvalidInputError, StageFailedError
from pipeline.slipway import Slipway

Make = Callable[..., Slipway]
Scanner = Callable[[str], dagger.Container]

# In parts, so that this file holds none.
LINE = "-----{} RSA " + "PRIVATE KEY-----\n"
KEY = LINE.format("BEGIN") + "MIIEowIBAAKCAQEAx9f2mT7QeJ4kz\n" * 5 + LINE.format("END")
TOKEN = "ghp_" + "wJ8mKq2Rz7Lx4Vn9Tb3Yc6Hd1Fs5Gp0AqEuX"
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


async def test_a_secret_closes_the_gate_and_is_not_shown(make: Make):
    slipway = make({"service/src/config.js": f'// line 1\nexport const token = "{TOKEN}";\n', "deploy.pem": KEY})
    with pytest.raises(GateClosedError, match="secrets: 2 in the source") as caught:
        await slipway.verify()
    assert "service/src/config.js:github-pat:2" in str(caught.value)
    assert "deploy.pem:private-key:1" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "MIIEow" not in str(caught.value)


async def test_what_git_ignores_is_not_of_the_source(make: Make, repository: Path):
    (repository / "local env").mkdir()
    (repository / "local env" / "key.pem").write_text(KEY)
    (repository / ".env").write_text(f"TOKEN={TOKEN}\n")
    assert await make({".gitignore": ".env\nlocal env/\n"}).secrets() == "no secrets found"


async def test_what_was_committed_though_it_is_ignored_is_looked_through(make: Make):
    make({".env": f"TOKEN={TOKEN}\n"})
    with pytest.raises(GateClosedError, match=r"\.env:github-pat:1"):
        await make({".gitignore": ".env\n"}).secrets()


async def test_a_false_alarm_that_is_marked_passes(make: Make):
    marked = f'export const token = "{TOKEN}"; // gitleaks:allow\n'
    assert await make({"service/src/config.js": marked}).secrets() == "no secrets found"


async def test_what_the_gate_tells_is_what_gitleaksignore_takes(make: Make):
    files = {"deploy.pem": KEY, "service/src/config.js": f'export const token = "{TOKEN}";\n'}
    with pytest.raises(GateClosedError) as caught:
        await make(files).secrets()
    fingerprints = "".join(f"{line}\n" for line in caught.value.output.splitlines())
    assert await make({".gitleaksignore": fingerprints}).secrets() == "no secrets found"


RULES = '[extend]\nuseDefault = true\n[allowlist]\npaths = ["{path}"]\n'


async def test_rules_of_the_repository_are_honoured_and_told(make: Make):
    told = await make({"deploy.pem": KEY, ".gitleaks.toml": RULES.format(path="^deploy[.]pem$")}).secrets()
    assert told == "no secrets found, by the rules of .gitleaks.toml"
    with pytest.raises(GateClosedError, match=r"other\.pem:private-key:1"):
        await make({"other.pem": KEY}).secrets()


@pytest.mark.parametrize("rules", ['title = "x"\n', RULES.format(path=".*")])
async def test_rules_that_find_nothing_at_all_close_the_gate(make: Make, rules: str):
    with pytest.raises(StageFailedError, match="not even what was put there to be"):
        await make({".gitleaks.toml": rules}).secrets()


async def test_an_ignored_file_with_a_name_like_a_pattern_hides_nothing(make: Make, repository: Path):
    slipway = make({".gitignore": "\\*\n", "deploy.pem": KEY})
    (repository / "*").write_text("ignored")
    with pytest.raises(GateClosedError, match=r"deploy\.pem:private-key:1"):
        await slipway.secrets()


async def test_gitleaks_that_cannot_run_is_no_finding(make: Make):
    with pytest.raises(StageFailedError, match="gitleaks could not run"):
        await make({".gitleaks.toml": "this is [not toml"}).secrets()


async def test_gitleaks_that_cannot_be_had_does_not_pass(make: Make):
    with pytest.raises(StageFailedError, match="cannot be had") as caught:
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


async def test_a_licence_that_is_not_to_be_shipped_closes_the_gate(make: Make):
    with pytest.raises(GateClosedError, match="1 of the production dependencies may not be shipped") as caught:
        await make(packages("@fingerprintjs/fingerprintjs", "tslib", "node-forge")).verify()
    assert "@fingerprintjs/fingerprintjs@4.6.2: BUSL-1.1" in str(caught.value)
    assert "node-forge" not in str(caught.value)


async def test_a_licence_with_reason_and_date_passes(make: Make):
    files = packages("@fingerprintjs/fingerprintjs", "tslib", "node-forge") | {"service/.trivyignore.yaml": IGNORE}
    assert await make(files).licenses() == "3 production dependencies"


async def test_the_ignore_of_a_licence_is_none_of_the_scans(make: Make, scanner: Scanner):
    candidate = await (await make({"service/.trivyignore.yaml": IGNORE}).verify()).build()
    verdict, _ = await candidate.examine(make().taken.service.file(".trivyignore.yaml"), scanner("clean"), None)
    assert verdict.warnings == []


async def test_gates_are_turned_off_by_name_and_the_report_tells_of_it(
    make: Make, scanner: Scanner, capsys: pytest.CaptureFixture[str]
):
    slipway = make({"deploy.pem": KEY})
    slipway.skip = [Gate.SECRETS]
    shipment = await slipway.ship(scanner=scanner("clean"))
    assert "turned off: secrets" in await shipment.summary()
    assert "**Turned off:** secrets" in shipment.markdown
    assert json.loads(shipment.document)["skipped"] == ["secrets"]
    assert "secrets: TURNED OFF by --skip" in capsys.readouterr().out


async def test_a_malformed_ignore_of_a_licence_is_refused(make: Make):
    with pytest.raises(InvalidInputError, match="has no reason"):
        await make({"service/.trivyignore.yaml": "licenses:\n  - id: a\n    expired_at: 2099-12-31\n"}).licenses()
