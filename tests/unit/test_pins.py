import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.check import pins
from pipeline.check.pins import Pin
from pipeline.core.errors import InvalidInputError

SHA = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "a" * 64
TODAY = datetime.date(2026, 11, 24)


def test_an_image_is_pinned_by_a_digest_and_nothing_else():
    assert pins.image(f"node:24@{DIGEST}").pinned == DIGEST
    for reference in ("node:24", "node", "node@sha256:abc", f"node:{SHA}"):
        assert pins.image(reference).pinned == ""


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
    found = {pin.name: pin.pinned for pin in pins.in_workflow(text, "ship.yml")}
    assert found == {
        "actions/checkout v7.0.1": SHA,
        "actions/cache": "",
        "org/action": "",
        "alpine:3": "",
        "node:24": "",
        "postgres:17": DIGEST,
        "redis": "",
        "org/repo/.github/workflows/ship.yml": "",
    }


def test_an_action_names_what_it_runs_and_uses():
    for runs in (f"image: docker://x:1@{DIGEST}", f"steps: [{{uses: x@{SHA}}}]"):
        [pin] = pins.in_workflow(f"runs: {{{runs}}}", "action.yml")
        assert pin.pinned in {DIGEST, SHA}
    assert list(pins.in_workflow("runs: {using: docker, image: Dockerfile}", "action.yml")) == []
    assert list(pins.in_workflow("jobs: [not, a, mapping]\nruns: x\n", "odd.yml")) == []


def test_what_a_module_is_built_with_is_pinned_by_version():
    text = f"""
[build-system]
requires = ["uv_build==0.10.3", "hatchling", "setuptools >= 80", "wheel[x] == 1.0 ; python_version > '3'", "a==1.*"]

[tool.dagger]
base-image = "python:3.13-slim@{DIGEST}"
"""
    found = {pin.name: pin.pinned for pin in pins.in_pyproject(text, "pyproject.toml")}
    assert found == {
        "python:3.13-slim": DIGEST,
        "uv_build": "0.10.3",
        "hatchling": "",
        "setuptools >= 80": "",
        "wheel": "1.0",
        "a==1.*": "",
    }
    assert list(pins.in_pyproject("", "pyproject.toml")) == []


def test_what_npm_holds_by_checksum_is_one_pin_and_the_rest_is_named():
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
    found = {pin.name: pin.pinned for pin in pins.in_npm_lock(json.dumps(lock), "package-lock.json")}
    assert found == {"d": "", "@s/e": "", "3 of npm": "by checksum"}


def test_an_npm_lock_of_the_old_form_pins_nothing():
    [pin] = pins.in_npm_lock('{"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0"}}}', "package-lock.json")
    assert (pin.name, pin.pinned) == ("lockfileVersion 1", "")


def test_what_uv_holds_by_hash_is_one_pin_and_the_rest_is_named():
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
    found = {pin.name: pin.pinned for pin in pins.in_uv_lock(lock, "uv.lock")}
    assert found == {"no-hash": "", "2 of PyPI": "by hash"}


def test_modules_are_pinned_by_commit_and_those_beside_it_are_its_own():
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
    found = {pin.name: pin.pinned for pin in pins.in_module(json.dumps(module), "dagger.json")}
    assert found == {
        "dagger v0.21.8": "v0.21.8",
        f"github.com/o/sdk@{SHA}": SHA,
        "github.com/o/print@v1": SHA,
        "github.com/o/tool@v1": "",
        "github.com/o/b@v1": SHA,
        "github.com/o/c@main": "",
    }


@pytest.mark.parametrize(
    ("text", "found"),
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
def test_an_engine_is_pinned_by_version_and_brings_its_own_sdks(text: str, found: dict[str, str]):
    assert {pin.name: pin.pinned for pin in pins.in_module(text, "dagger.json")} == found


def test_a_module_without_a_lock_file_pins_nothing_that_it_needs():
    [pin] = pins.without_lock('[project]\ndependencies = ["dagger-io==0.21.8"]\n', "pyproject.toml")
    assert (pin.name, pin.pinned) == ("dagger-io==0.21.8", "")
    assert list(pins.without_lock("[project]\n", "pyproject.toml")) == []


def test_manifests_name_other_images_by_digest_and_get_nothing_from_elsewhere():
    manifest = f"""
spec: {{template: {{spec: {{initContainers: [{{image: "busybox:1"}}],
  containers: [{{image: harbour}}, {{image: "proxy:2@{DIGEST}"}}]}}}}}}
---
resources: [deployment.yaml, ../base, "github.com/org/base?ref=v1", "https://example.com/base.git//dir?ref={SHA}"]
components: ["https://example.com/all.yaml"]
transformers: ["https://example.com/change.yaml"]
"""
    found = {pin.name: bool(pin.pinned) for pin in pins.in_manifests(manifest, "all.yaml", service="harbour")}
    assert found == {
        "busybox:1": False,
        "proxy:2": True,
        "github.com/org/base?ref=v1": False,
        f"https://example.com/base.git//dir?ref={SHA}": True,
        "https://example.com/all.yaml": False,
        "https://example.com/change.yaml": False,
    }


@pytest.mark.parametrize(
    ("finder", "text", "words"),
    [
        (pins.in_npm_lock, "{", "package-lock.json is not JSON"),
        (pins.in_uv_lock, "[[package", "is not TOML"),
        (pins.in_pyproject, "[project", "is not TOML"),
        (pins.in_workflow, "jobs: [", "is not YAML"),
        (pins.in_module, "nothing", "is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_pins_nothing(finder: Callable[[str, str], Any], text: str, words: str):
    with pytest.raises(InvalidInputError, match=words):
        list(finder(text, "package-lock.json"))


def test_frozen_names_what_is_not_pinned_and_where():
    given = [
        Pin("image", "node:24", "", "", "x"),
        Pin("action", "a/b v1", SHA, "f.yml", "x"),
        Pin("action", "c", "", "g.yml", "x"),
    ]
    with pytest.raises(InvalidInputError, match=r"not all that is fetched is pinned \(2\)") as caught:
        pins.check_frozen(given)
    assert "image node:24\n" in str(caught.value)
    assert "action c in g.yml" in str(caught.value)
    pins.check_frozen(given[1:2])


def test_the_table_tells_age_and_how_to_refresh():
    given = [pins.image(f"node:24@{DIGEST}"), Pin("action", "a/b v1", "", "f.yml", pins.ACTION, "2026-11-20")]
    lines = pins.table(given, TODAY).splitlines()
    assert lines[1].split() == ["image", "node:24", "a" * 12, "?"]
    assert lines[2].split() == ["action", "a/b", "v1", "NOT", "PINNED", "4", "f.yml"]
    assert f"  image: {pins.IMAGE}" in lines
    assert [pin["days"] for pin in json.loads(pins.to_document(given, TODAY))] == [None, 4]
