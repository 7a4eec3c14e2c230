import dataclasses
import datetime
import json

import pytest

from pipeline.check import pin_parsers, pins
from pipeline.check.pin_parsers import Parser
from pipeline.check.pins import Pin
from pipeline.core.errors import InvalidInputError
from pipeline.images import Images

SHA = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "a" * 64
TODAY = datetime.date(2026, 11, 24)


def test_an_image_is_pinned_by_a_digest_and_nothing_else():
    assert pins.image_pin(f"node:24@{DIGEST}").pinned == DIGEST
    for reference in ("node:24", "node", "node@sha256:abc", f"node:{SHA}"):
        assert pins.image_pin(reference).pinned == ""


def test_actions_are_pinned_by_a_full_commit():
    text = f"""
jobs:
  first:
    container: node:24
    services: {{db: {{image: "postgres:17@{DIGEST}"}}, cache: {{image: redis}}}}
    steps:
      - uses: actions/checkout@{SHA} # v7.0.1
      - uses: "actions/cache@v4"
      - {{name: one line, uses: org/action@{SHA[:7]}}}
      - uses: ./.github/actions/own
      - uses: $/.github/actions/own
      - uses: docker://alpine:3
      - name: uses
        run: |
          uses: nothing@v1
  second:
    uses: org/repo/.github/workflows/ship.yml@main
"""
    pinned = {pin.name: pin.pinned for pin in pin_parsers.workflow_pins(text, "ship.yml")}
    assert pinned == {
        "actions/checkout v7.0.1": SHA,
        "actions/cache": "",
        "org/action": "",
        "alpine:3": "",
        "node:24": "",
        "postgres:17": DIGEST,
        "redis": "",
        "org/repo/.github/workflows/ship.yml": "",
    }


def test_the_images_and_steps_of_an_action_are_listed():
    for runs in (f"image: docker://x:1@{DIGEST}", f"steps: [{{uses: x@{SHA}}}]"):
        [pin] = pin_parsers.workflow_pins(f"runs: {{{runs}}}", "action.yml")
        assert pin.pinned in {DIGEST, SHA}
    assert pin_parsers.workflow_pins("runs: {using: docker, image: Dockerfile}", "action.yml") == []
    assert pin_parsers.workflow_pins("jobs: [not, a, mapping]\nruns: x\n", "odd.yml") == []


def test_build_requirements_are_pinned_by_version():
    text = f"""
[build-system]
requires = ["uv_build==0.10.3", "hatchling", "setuptools >= 80", "wheel[x] == 1.0 ; python_version > '3'", "a==1.*"]

[tool.dagger]
base-image = "python:3.13-slim@{DIGEST}"
"""
    pinned = {pin.name: pin.pinned for pin in pin_parsers.pyproject_pins(text, "pyproject.toml")}
    assert pinned == {
        "python:3.13-slim": DIGEST,
        "uv_build": "0.10.3",
        "hatchling": "",
        "setuptools >= 80": "",
        "wheel": "1.0",
        "a==1.*": "",
    }
    assert pin_parsers.pyproject_pins("", "pyproject.toml") == []


def test_packages_with_a_checksum_are_one_pin_and_each_other_one_is_named():
    lock = {
        "packages": {
            "": {"name": "app"},
            "node_modules/a": {"integrity": "sha512-x"},
            "node_modules/a/node_modules/b": {"integrity": "sha512-y"},
            "node_modules/c": {"resolved": f"git+ssh://git@github.com/o/c.git#{SHA}"},
            "node_modules/d": {"resolved": f"https://example.com/d.tgz#{SHA}"},
            "node_modules/@s/e": {"resolved": "git+ssh://git@github.com/o/e.git#main"},
            "node_modules/f": {"link": True, "resolved": "packages/f"},
            "packages/f": {},
        }
    }
    pinned = {pin.name: pin.pinned for pin in pin_parsers.npm_lock_pins(json.dumps(lock), "package-lock.json")}
    assert pinned == {"d": "", "@s/e": "", "3 of npm": "by checksum"}


def test_an_npm_lock_of_the_old_form_pins_nothing():
    [pin] = pin_parsers.npm_lock_pins(
        '{"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0"}}}', "package-lock.json"
    )
    assert (pin.name, pin.pinned) == ("lockfileVersion 1", "")


def test_packages_with_a_hash_are_one_pin_and_each_other_one_is_named():
    lock = f"""
[[package]]
name = "own"
source = {{ editable = "." }}

[[package]]
name = "good"
source = {{ registry = "https://pypi.example/simple" }}
sdist = {{ url = "x", hash = "sha256:1" }}
wheels = [{{ url = "y", hash = "sha256:2" }}]

[[package]]
name = "from-git"
source = {{ git = "https://example.com/x?rev=main#{SHA}" }}

[[package]]
name = "no-hash"
source = {{ registry = "https://pypi.example/simple" }}
wheels = [{{ url = "z" }}]
"""
    pinned = {pin.name: pin.pinned for pin in pin_parsers.uv_lock_pins(lock, "uv.lock")}
    assert pinned == {"no-hash": "", "2 of PyPI": "by hash"}


def test_remote_modules_are_pinned_by_commit_and_local_ones_are_not_listed():
    module = {
        "engineVersion": "v0.21.8",
        "sdk": {"source": f"github.com/o/sdk@{SHA}"},
        "blueprint": {"source": "github.com/o/print@v1", "pin": SHA},
        "toolchains": [{"name": "t", "source": "github.com/o/tool@v1"}],
        "dependencies": [
            {"name": "a", "source": "../a"},
            {"name": "b", "source": "github.com/o/b@v1", "pin": SHA},
            {"name": "c", "source": "github.com/o/c@main"},
        ],
    }
    pinned = {pin.name: pin.pinned for pin in pin_parsers.module_pins(json.dumps(module), "dagger.json")}
    assert pinned == {
        "dagger v0.21.8": "v0.21.8",
        f"github.com/o/sdk@{SHA}": SHA,
        "github.com/o/print@v1": SHA,
        "github.com/o/tool@v1": "",
        "github.com/o/b@v1": SHA,
        "github.com/o/c@main": "",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"engineVersion": "latest", "sdk": "github.com/o/sdk@main"}',
            {"dagger latest": "", "github.com/o/sdk@main": ""},
        ),
        ('{"sdk": "python"}', {}),
        ('{"sdk": {"source": "go"}, "dependencies": null}', {}),
        ("[]", {}),
    ],
)
def test_an_engine_is_pinned_by_version_and_built_in_sdks_are_not_listed(text: str, expected: dict[str, str]):
    assert {pin.name: pin.pinned for pin in pin_parsers.module_pins(text, "dagger.json")} == expected


def test_without_a_lock_file_no_dependency_is_pinned():
    [pin] = pin_parsers.unlocked_pins('[project]\ndependencies = ["dagger-io==0.21.8"]\n', "pyproject.toml")
    assert (pin.name, pin.pinned) == ("dagger-io==0.21.8", "")
    assert pin_parsers.unlocked_pins("[project]\n", "pyproject.toml") == []


def test_manifests_pin_images_by_digest_and_remote_resources_by_commit():
    manifest = f"""
spec: {{template: {{spec: {{initContainers: [{{image: "busybox:1"}}],
  containers: [{{image: harbour}}, {{image: "proxy:2@{DIGEST}"}}]}}}}}}
---
resources: [deployment.yaml, ../base, "github.com/org/base?ref=v1", "https://example.com/base.git//dir?ref={SHA}"]
components: ["https://example.com/all.yaml"]
transformers: ["https://example.com/change.yaml"]
"""
    pinned = {pin.name: bool(pin.pinned) for pin in pin_parsers.manifest_pins(manifest, "all.yaml", service="harbour")}
    assert pinned == {
        "busybox:1": False,
        "proxy:2": True,
        "github.com/org/base?ref=v1": False,
        f"https://example.com/base.git//dir?ref={SHA}": True,
        "https://example.com/all.yaml": False,
        "https://example.com/change.yaml": False,
    }


@pytest.mark.parametrize(
    ("parser", "text", "problem"),
    [
        (pin_parsers.npm_lock_pins, "{", "is malformed: Expecting"),
        (pin_parsers.uv_lock_pins, "[[package", "is malformed: "),
        (pin_parsers.pyproject_pins, "[project", "is malformed: "),
        (pin_parsers.workflow_pins, "jobs: [", "is malformed: while parsing"),
        (pin_parsers.workflow_pins, "on: 2026-02-30", "is malformed: day is out of range"),
        (pin_parsers.module_pins, "nothing", "is malformed: Expecting"),
        (pin_parsers.npm_lock_pins, '{"packages": [1]}', "is malformed: "),
        (pin_parsers.uv_lock_pins, "package = [{}]", "is malformed: 'name'"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(parser: Parser, text: str, problem: str):
    with pytest.raises(InvalidInputError, match=f"^pins: package-lock.json {problem}"):
        parser(text, "package-lock.json")


def test_frozen_lists_everything_that_is_not_pinned_with_its_file():
    loose = [
        Pin("image", "node:24", "", "", "x"),
        Pin("action", "a/b v1", SHA, "f.yml", "x"),
        Pin("action", "c", "", "g.yml", "x"),
    ]
    with pytest.raises(InvalidInputError, match=r"not everything that a run fetches is pinned \(2\)") as caught:
        pins.check_frozen(loose)
    assert "image node:24\n" in str(caught.value)
    assert "action c in g.yml" in str(caught.value)
    pins.check_frozen(loose[1:2])


def test_the_table_shows_each_file_with_its_pins_their_age_and_how_to_refresh_them():
    listed = [pins.image_pin(f"node:24@{DIGEST}"), Pin("action", "a/b v1", "", "f.yml", pins.ACTION, "2026-11-20")]
    lines = pins.table([*listed, pins.image_pin("redis:8")], TODAY).splitlines()
    assert [line.split() for line in lines[:6]] == [
        ["kind", "name", "pinned", "days"],
        ["images", "of", "the", "stages"],
        ["image", "node:24", "a" * 12, "?"],
        ["image", "redis:8", "NOT", "PINNED", "?"],
        ["f.yml"],
        ["action", "a/b", "v1", "NOT", "PINNED", "4"],
    ]
    assert f"  image: {pins.IMAGE}" in lines
    assert [pin["days"] for pin in json.loads(pins.to_json(listed, TODAY))] == [None, 4]


def test_the_table_of_slipways_own_pins_fits_into_80_columns():
    listed = [pins.image_pin(reference) for reference in dataclasses.astuple(Images())]
    assert max(map(len, pins.table(listed, TODAY).partition("\n\nto refresh")[0].splitlines())) <= 80
