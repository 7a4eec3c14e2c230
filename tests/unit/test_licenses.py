import json

import pytest

from pipeline.check import licenses
from pipeline.check.licenses import Package
from pipeline.core.errors import GateClosedError, InvalidInputError, StageFailedError

IGNORE = """
licenses:
  - id: {id}
    statement: we ship no binaries of it
    expired_at: {date}
"""


@pytest.mark.parametrize(
    "text",
    [
        "MIT",
        "mit",
        "Apache-2.0 AND (BSD-3-Clause OR GPL-2.0)",
        "LGPL-3.0-or-later",
        "MPL-2.0",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "GPL-2.0-with-classpath-exception",
        "Apache-2.0 WITH LLVM-exception",
        "CC0-1.0",
        "BlueOak-1.0.0",
        "LGPL-2.1+",
    ],
)
def test_permissive_and_weak_copyleft_licenses_pass(text: str):
    assert licenses.refused_packages([Package("a", "1.0.0", text)], set()) == ([], set())


@pytest.mark.parametrize(
    "text",
    [
        "GPL-3.0-only",
        "GPL-3.0",
        "GPL-2.0+",
        "AGPL-3.0-or-later",
        "MIT AND GPL-2.0-only",
        "GPL-2.0-only OR AGPL-3.0-only",
        "BUSL-1.1",
        "SSPL-1.0",
        "SSPL-1.0 WITH LLVM-exception",
        "FSL-1.1-MIT",
        "CC-BY-ND-4.0",
        "CPAL-1.0",
        "RPL-1.5",
        "AGPL-3.0-only WITH Autoconf-exception-3.0",
        "AGPL-3.0-only WITH Classpath-exception-2.0",
        "GPL-2.0-only WITH GPL-CC-1.0",
        "LicenseRef-commercial",
        "LicenseRef-scancode-proprietary-license",
        "UNLICENSED",
        "SEE LICENSE IN LICENSE.md",
        "BSD",
        "MIT OR",
        "",
    ],
)
def test_strong_copyleft_source_available_and_unknown_ones_do_not(text: str):
    blocking, _ = licenses.refused_packages([Package("a", "1.0.0", text)], set())
    assert blocking == [f"a@1.0.0: {text or 'no license'}"]


@pytest.mark.parametrize("name", ["a", "a@1.0.0", "GPL-3.0-only"])
def test_a_package_or_license_with_a_reason_passes(name: str):
    assert licenses.check([Package("a", "1.0.0", "GPL-3.0")], IGNORE.format(id=name, date="2099-12-31")) == []


def test_another_version_or_license_does_not_pass_with_it():
    for name in ("a@1.0.1", "GPL-2.0-only", "b"):
        with pytest.raises(GateClosedError, match="1 of the production dependencies have a forbidden license"):
            licenses.check([Package("a", "1.0.0", "GPL-3.0")], IGNORE.format(id=name, date="2099-12-31"))


def test_an_ignore_that_is_not_needed_is_a_warning():
    [warning] = licenses.check([Package("a", "1.0.0", "MIT")], IGNORE.format(id="a", date="2099-12-31"))
    assert "matches no finding" in warning


def test_an_expired_ignore_closes_the_gate():
    with pytest.raises(InvalidInputError, match="expired on 2026-01-01"):
        licenses.check([], IGNORE.format(id="a", date="2026-01-01"))


def test_deprecated_forms_of_a_license_are_read():
    installed = [
        {"name": "a", "version": "1.0.0", "location": "node_modules/a", "license": {"type": "MIT", "url": "x"}},
        {"name": "b", "version": "1.0.0", "location": "node_modules/b", "licenses": [{"type": "MIT"}, {"type": "ISC"}]},
        {"name": "c", "version": "1.0.0", "location": "node_modules/c"},
        {"name": "the service", "version": "1.0.0", "location": ""},
    ]
    packages = licenses.parse_packages(json.dumps(installed))
    assert [package.license for package in packages] == ["MIT", "(MIT) OR (ISC)", ""]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"name": "a"}]', "npm error"])
def test_output_of_another_form_is_an_error_and_never_an_empty_list(text: str):
    with pytest.raises(StageFailedError, match="cannot parse npm's output"):
        licenses.parse_packages(text)
