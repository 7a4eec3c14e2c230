"""Parsers of other people's documents: any text is parsed, or refused by an error of ours that says so in one line."""

import base64
import datetime
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.check import licenses, pin_parsers, secrets
from pipeline.check.licenses import Package
from pipeline.check.pin_parsers import Parser
from pipeline.core.errors import InvalidInputError, SlipwayError, StageFailedError
from pipeline.kubernetes.kubeconfig import Kubeconfig
from pipeline.oci.references import DigestReference, Repository, check_name, check_tag
from pipeline.scan import ignores, trivy
from pipeline.signing import cosign

TODAY = datetime.date(2026, 11, 23)
SECRET = "S3CR3T-" + "x" * 20
# More examples than the suite has time for: SLIPWAY_EXAMPLES=5000 pytest tests/unit/test_parsers.py
EXAMPLES = int(os.environ.get("SLIPWAY_EXAMPLES", "40"))
fuzzed = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
HOSTS = st.sampled_from(["ghcr.io", "localhost:5000", "localhost", "registry.example.com:8443", "127.0.0.1:80"])
PATHS = st.from_regex(r"[a-z0-9]{1,9}(?:(?:\.|_|__|-{1,2})[a-z0-9]{1,9})?(?:/[a-z0-9]{1,9}){0,3}", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["2026-12-31", "sha256:" + "a" * 64, f"a/b@{'c' * 40}", "node:24", "docker://x"])
)


def documents(*keys: str) -> st.SearchStrategy[Any]:
    """Values as JSON has them; the keys of objects are mostly those that a parser reads."""
    names = st.sampled_from(keys) | st.text(max_size=5)
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


def texts(*keys: str, write: Callable[[Any], str] = json.dumps) -> st.SearchStrategy[str]:
    """Any text, and documents of any structure."""
    return st.text(max_size=40) | documents(*keys).map(write)


def to_toml(value: Any) -> str:
    """Write an object as TOML, which has no null: every value inline."""
    if isinstance(value, dict):
        return "".join(f"{json.dumps(key)} = {_inline(entry)}\n" for key, entry in value.items())
    return f"value = {_inline(value)}\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(0 if value is None else value)


def outcome(parse: Callable[[str], Any], text: str, error: type[SlipwayError]) -> tuple[Any, SlipwayError | None]:
    """Return the parsed text, or the error of the given type that refuses it."""
    try:
        return parse(text), None
    except error as refusal:
        return None, refusal


def parsed_or_refused(parse: Callable[[str], Any], text: str, error: type[SlipwayError]) -> Any:
    """Return the parsed text; None if it is refused by one line."""
    parsed, refusal = outcome(parse, text, error)
    assert refusal is None or "\n" not in refusal.problem
    return parsed


# Image references


@fuzzed
@given(st.text(max_size=60))
def test_any_text_is_the_address_of_a_repository_or_refused(text: str):
    if repository := parsed_or_refused(Repository.parse, text, InvalidInputError):
        assert str(repository) == text


@fuzzed
@given(HOSTS, PATHS, DIGESTS, st.none() | TAGS)
def test_every_reference_by_digest_is_read_without_its_tag(host: str, path: str, digest: str, tag: str | None):
    reference = DigestReference.parse(f"{host}/{path}{f':{tag}' if tag else ''}@{digest}")
    assert str(reference) == f"{host}/{path}@{digest}"
    assert DigestReference.parse(str(reference)) == reference
    assert Repository.parse(f"{host}/{path}") == reference.repository


@fuzzed
@given(HOSTS, PATHS, st.text(max_size=80))
def test_whatever_follows_a_repository_only_a_digest_makes_a_reference(host: str, path: str, rest: str):
    if reference := parsed_or_refused(DigestReference.parse, f"{host}/{path}{rest}", InvalidInputError):
        assert rest.endswith(f"@{reference.digest}")


@fuzzed
@given(st.text(max_size=140) | TAGS)
def test_any_text_is_a_tag_or_refused(text: str):
    if (tag := parsed_or_refused(check_tag, text, InvalidInputError)) is not None:
        assert tag == text
        assert 0 < len(tag) <= 128
        assert tag.isascii()


@fuzzed
@given(st.text(max_size=70))
def test_any_text_is_a_name_or_refused(text: str):
    if (name := parsed_or_refused(lambda value: check_name("namespace", value), text, InvalidInputError)) is not None:
        assert name == text
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


# Ignores

IGNORE_KEYS = ("vulnerabilities", "licenses", "secrets", "id", "statement", "expired_at")


@fuzzed
@example("vulnerabilities: 2026-02-30")
@example("vulnerabilities: [{id: [], statement: x, expired_at: 2026-12-31}]")
@example("? [a]\n: b")
@example("&a [*a]")
@given(texts(*IGNORE_KEYS, write=yaml.safe_dump))
def test_any_ignore_file_is_parsed_or_refused(text: str):
    for ignore in parsed_or_refused(lambda value: ignores.parse(value, TODAY), text, InvalidInputError) or []:
        assert ignore.id
        assert ignore.statement
        assert ignore.expires >= TODAY


@fuzzed
@given(
    st.lists(
        st.builds(
            ignores.Ignore,
            id=st.from_regex(r"CVE-[0-9]{4}-[0-9]{1,6}|[a-z]+@[0-9]\.[0-9]", fullmatch=True),
            statement=st.text(min_size=1, max_size=20).filter(str.strip).map(str.strip),
            expires=st.dates(min_value=TODAY),
            section=st.sampled_from(ignores.SECTIONS),
        ),
        max_size=5,
    )
)
def test_every_complete_ignore_is_read_as_it_was_written(entries: list[ignores.Ignore]):
    document: dict[str, list[dict[str, object]]] = {}
    for entry in entries:
        fields = {"id": entry.id, "statement": entry.statement, "expired_at": entry.expires}
        document.setdefault(entry.section, []).append(fields)
    expected = [entry for section in ignores.SECTIONS for entry in entries if entry.section == section]
    assert ignores.parse(yaml.safe_dump(document), TODAY) == expected


# Trivy

TRIVY_KEYS = ("SchemaVersion", "Metadata", "ImageID", "Results", "Vulnerabilities", "Secrets", "VulnerabilityID")
FINDING_KEYS = (*TRIVY_KEYS, "PkgName", "Severity", "Title", "RuleID", "Target", "Finding", "Statement")


def trivy_report(results: Any) -> str:
    return json.dumps({"SchemaVersion": 2, "Metadata": {"ImageID": "sha256:1"}, "Results": results})


@fuzzed
@example(trivy_report([{"Secrets": [{"RuleID": "x", "Severity": "SEVERE", "Title": "t"}], "Target": "t"}]))
@example(trivy_report({"Vulnerabilities": []}))
@example(trivy_report([{"Vulnerabilities": {}}]))
@given(texts(*TRIVY_KEYS) | documents("ExperimentalModifiedFindings", *FINDING_KEYS).map(trivy_report))
def test_any_report_of_trivy_is_parsed_or_refused(text: str):
    if scan := parsed_or_refused(trivy.parse_scan, text, StageFailedError):
        assert (
            len(scan.blocking(trivy.SEVERITIES))
            == len(scan.findings)
            == sum(int(count.split()[1]) for count in scan.counts())
        )
        assert all(str(finding) for finding in scan.findings)
        assert all(isinstance(value, str) for pair in scan.suppressed.items() for value in pair)


@pytest.mark.parametrize("results", [{}, {"Vulnerabilities": []}, "none", [{"Vulnerabilities": {"a": 1}}], [1]])
def test_results_that_are_no_list_are_never_an_empty_report(results: object):
    if results:
        with pytest.raises(StageFailedError):
            trivy.parse_scan(trivy_report(results))


@fuzzed
@example('{"Version": 1, "VulnerabilityDB": {"UpdatedAt": "2026-11-23T10:00:00"}}')
@given(
    texts("Version", "VulnerabilityDB", "UpdatedAt")
    | st.text(max_size=30).map(lambda time: json.dumps({"Version": "1", "VulnerabilityDB": {"UpdatedAt": time}}))
)
def test_any_version_of_trivy_is_parsed_or_refused(text: str):
    if result := parsed_or_refused(trivy.parse_version, text, StageFailedError):
        _, built = result
        assert built is None or built.tzinfo is not None


# Pins

PIN_PARSERS: dict[str, tuple[Parser, Callable[[Any], str], tuple[str, ...]]] = {
    "package-lock.json": (
        pin_parsers.npm_lock_pins,
        json.dumps,
        ("packages", "dependencies", "node_modules/a", "integrity", "resolved", "link", "inBundle"),
    ),
    "dagger.json": (
        pin_parsers.module_pins,
        json.dumps,
        ("engineVersion", "sdk", "source", "pin", "blueprint", "dependencies", "toolchains"),
    ),
    "uv.lock": (pin_parsers.uv_lock_pins, to_toml, ("package", "name", "source", "git", "wheels", "sdist", "hash")),
    "pyproject.toml": (
        pin_parsers.pyproject_pins,
        to_toml,
        ("tool", "dagger", "base-image", "build-system", "requires"),
    ),
    "module/pyproject.toml": (pin_parsers.unlocked_pins, to_toml, ("project", "dependencies")),
    "ship.yml": (
        pin_parsers.workflow_pins,
        yaml.safe_dump,
        ("jobs", "steps", "uses", "runs", "container", "services", "image"),
    ),
    "deployment.yaml": (
        lambda text, file: pin_parsers.manifest_pins(text, file, "harbour"),
        yaml.safe_dump,
        ("image", "resources", "bases", "spec"),
    ),
    "install.sh": (pin_parsers.install_script_pins, str, ("version=1",)),
}


@pytest.mark.parametrize("file", PIN_PARSERS)
@fuzzed
@given(data=st.data())
def test_any_file_with_pins_is_parsed_or_refused_by_name(file: str, data: st.DataObject):
    parser, write, keys = PIN_PARSERS[file]
    text = data.draw(texts(*keys, write=write))
    pins, refusal = outcome(lambda value: parser(value, file), text, InvalidInputError)
    if refusal:
        assert refusal.problem.startswith(f"pins: {file} is malformed: ")
        assert "\n" not in refusal.problem
    for pin in set(pins or ()):
        assert all(isinstance(value, str) for value in (pin.name, pin.pinned, pin.file))
        assert "\n" not in pin.pinned


@fuzzed
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.sampled_from(["integrity", "commit", "branch", "nothing"])
    )
)
def test_of_an_npm_lock_exactly_the_packages_without_checksum_and_commit_are_named(packages: dict[str, str]):
    fields = {
        "integrity": {"integrity": "sha512-x"},
        "commit": {"resolved": f"git+ssh://git@example.com/x.git#{'a' * 40}"},
        "branch": {"resolved": "git+ssh://git@example.com/x.git#main"},
        "nothing": {"resolved": "https://example.com/x.tgz"},
    }
    lock = {"packages": {f"node_modules/{name}": fields[how] for name, how in packages.items()}}
    pins = pin_parsers.npm_lock_pins(json.dumps(lock), "package-lock.json")
    loose = {name for name, how in packages.items() if how in {"branch", "nothing"}}
    assert {pin.name for pin in pins if not pin.pinned} == loose
    assert [pin.name for pin in pins if pin.pinned] == (
        [f"{len(packages) - len(loose)} of npm"] if len(packages) > len(loose) else []
    )


# Secrets and licenses


@fuzzed
@example("{}")
@example('""')
@example("false")
@given(texts("File", "RuleID", "StartLine") | documents("File", "RuleID", "StartLine").map(lambda d: json.dumps([d])))
def test_any_report_of_gitleaks_is_parsed_or_refused(text: str):
    findings = parsed_or_refused(secrets.parse_report, text, StageFailedError)
    if findings == []:
        assert json.loads(text) in (None, [])


@fuzzed
@given(st.dictionaries(st.sampled_from(["File", "RuleID", "StartLine", "x"]), st.integers()))
def test_no_message_about_a_report_of_gitleaks_has_its_secrets(entry: dict[str, int]):
    text = json.dumps([entry | {"Secret": SECRET, "Match": f"token = {SECRET}"}])
    for part in (text, text[:-1], f"[{text}]"):
        findings, refusal = outcome(secrets.parse_report, part, StageFailedError)
        assert SECRET not in f"{findings} {refusal}"


@fuzzed
@given(texts("name", "version", "location", "license", "licenses", "type"))
def test_any_output_of_npm_query_is_parsed_or_refused(text: str):
    for package in parsed_or_refused(licenses.parse_packages, text, StageFailedError) or []:
        assert isinstance(package, Package)
        assert isinstance(package.license, str)


@fuzzed
@example("()")
@example("(AND 0")
@example("()")
@example("(AND 0")
@example("MIT WITH MIT")
@example("(")
@example("MIT AND")
@example("GPL-2.0 WITH")
@given(
    st.text(max_size=20)
    | st.lists(
        st.sampled_from(["MIT", "GPL-3.0-only", "AND", "OR", "WITH", "(", ")", "Classpath-exception-2.0", "x"]),
        max_size=8,
    ).map(" ".join)
)
def test_any_license_is_allowed_or_refused(expression: str):
    refused = licenses.refused_licenses(expression, accepted=set())
    assert all(isinstance(license_id, str) and license_id for license_id in refused)
    blocking, _ = licenses.refused_packages([Package("a", "1.0.0", expression)], set())
    assert bool(blocking) == bool(refused)
    # An ignore of every refused license accepts it.
    if refused != {"none"}:
        assert licenses.refused_licenses(expression, accepted=refused) == set()


# Cosign


@fuzzed
@given(
    texts("critical", "type", "payload", "predicate")
    | documents("predicate").map(lambda d: json.dumps({"payload": base64.b64encode(json.dumps(d).encode()).decode()}))
)
def test_any_output_of_cosign_is_parsed_or_refused(text: str):
    types = parsed_or_refused(cosign.parse_types, text, StageFailedError) or set()
    assert all(isinstance(name, str) for name in types)
    predicates = parsed_or_refused(cosign.parse_predicates, text, StageFailedError) or []
    assert all(isinstance(predicate, dict) for predicate in predicates)


# Kubeconfigs

PRINTABLE = st.characters(exclude_categories=["C", "Z"])
SERVERS = st.sampled_from(
    [
        "https://10.0.0.1:6443",
        f"https://me:{SECRET}@10.0.0.1:99999",
        f"http://me:{SECRET}@a",
        "https://k8s.example.com/path",
        "http://localhost:8080",
        "http://example.com",
        "x",
        "",
    ]
) | st.text(max_size=20).map("https://{}".format)
CREDENTIALS = st.dictionaries(
    st.sampled_from(["token", "password", "client-key-data", "exec", "auth-provider", "tokenFile", "client-key"]),
    st.sampled_from([SECRET, {"env": [SECRET]}, [SECRET], ""]),
)


def kubeconfig(server: str, user: dict[Any, Any], cluster: dict[str, Any], context: str = "dev") -> str:
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "u"}}],
            "current-context": context,
        }
    )


KUBECONFIG_KEYS = ("clusters", "cluster", "users", "user", "contexts", "context", "current-context", "name", "server")


@fuzzed
@example("clusters: ü\n: [")
@example("clusters: 2026-02-30")
@example(kubeconfig("https://[", {}, {}))
@example(kubeconfig("https://a:99999", {}, {}))
@example(kubeconfig("https://a:port", {}, {}))
@example(kubeconfig("https://a:0", {}, {}))
@example(kubeconfig("https://a", {"token": datetime.date(2026, 1, 1), 1: 2}, {}))
@given(
    texts(*KUBECONFIG_KEYS, write=yaml.safe_dump)
    | documents(*KUBECONFIG_KEYS).map(lambda d: yaml.safe_dump({"clusters": d, "users": d, "contexts": d}))
    | SERVERS.map(lambda server: kubeconfig(server, {}, {}))
)
def test_any_kubeconfig_is_parsed_or_refused(text: str):
    for form in (text, base64.b64encode(text.encode("utf-8", "replace")).decode()):
        if config := parsed_or_refused(Kubeconfig.parse, form, InvalidInputError):
            assert 0 < config.port < 65536
            assert json.loads(config.document(host="kubernetes"))["kind"] == "Config"
            assert config.expires is None or config.expires.tzinfo is not None


@fuzzed
@example("https://10.0.0.1:6443", {"token": "a.eyJleHAiOjFlOTl9.b"}, "dev")  # gitleaks:allow - made up
@given(SERVERS, CREDENTIALS, st.sampled_from(["dev", "missing", ""]))
def test_no_message_about_a_kubeconfig_has_its_credentials(server: str, user: dict[str, Any], context: str):
    cluster = {"certificate-authority-data": SECRET}
    text = kubeconfig(server, user, cluster, context)
    config, refusal = outcome(Kubeconfig.parse, text, InvalidInputError)
    assert SECRET not in str(refusal)
    assert refusal or config.user == user


@fuzzed
@given(
    st.from_regex(r"https://[a-z]{1,9}(\.[a-z]{1,5})?(:[1-9][0-9]{0,3})?(/[a-z]{1,5})?", fullmatch=True),
    st.dictionaries(st.sampled_from(["token", "username", "password"]), st.text(PRINTABLE, max_size=20)),
)
def test_the_one_context_of_a_kubeconfig_is_written_as_it_was_read(server: str, user: dict[str, str]):
    config = Kubeconfig.parse(kubeconfig(server, user, {"certificate-authority-data": "eA=="}))
    again = Kubeconfig.parse(config.document())
    assert (again.server, again.user, again.cluster) == (config.server, config.user, config.cluster)
