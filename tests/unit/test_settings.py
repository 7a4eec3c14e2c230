"""The settings of a pipeline: which environment `ship` deploys to, and which credentials go where."""

import dataclasses
from typing import TYPE_CHECKING, cast

import pytest

from pipeline import ship
from pipeline.core.errors import InvalidInputError
from pipeline.deploy.environments import check_deployable
from pipeline.deploy.promotion import check_approver, check_next, promotion_of
from pipeline.deploy.target import EnvironmentTarget
from pipeline.images import Images
from pipeline.kubernetes.cluster import Cluster
from pipeline.observe.records import DeploymentRecord
from pipeline.oci.references import Repository
from pipeline.oci.registry import Registry
from pipeline.settings import Settings
from pipeline.source.commit import Commit
from pipeline.source.project import Project
from pipeline.source.source import Source

if TYPE_CHECKING:
    import dagger

TOOL = "registry.example.com/node@sha256:x"


def target(name: str, *, server: str = "https://one", namespace: str = "", url: str = "") -> EnvironmentTarget:
    secret = cast("dagger.Secret", object())
    return EnvironmentTarget(name=name, cluster=Cluster(kubeconfig=secret, server=server, namespace=namespace), url=url)


def settings(*names: str) -> Settings:
    return Settings(environments=[target(name) for name in names])


# Environments


def test_an_environment_is_found_by_its_name():
    configured = settings("staging", "production")
    assert configured.environment("production") is configured.environments[1]


@pytest.mark.parametrize(("names", "shown"), [((), "none"), (("staging", "production"), "staging, production")])
def test_a_missing_environment_is_reported_with_those_that_are_configured(names: tuple[str, ...], shown: str):
    with pytest.raises(InvalidInputError, match=f"no environment 'qa' is configured(.|\\n)*configured: {shown}\n"):
        settings(*names).environment("qa")


def test_an_environment_is_added_or_replaced():
    configured = settings("staging", "production")
    added = configured.with_environment(target("qa"))
    assert [item.name for item in added] == ["staging", "production", "qa"]
    replaced = configured.with_environment(target("staging", url="https://staging.example.com/"))
    assert [(item.name, item.url) for item in replaced] == [
        ("production", ""),
        ("staging", "https://staging.example.com"),
    ]
    assert [item.name for item in configured.environments] == ["staging", "production"]


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (target("Staging"), "environment 'Staging' is not a valid Kubernetes name"),
        (target("rehearsal"), "a rehearsal has no cluster"),
        (target("staging", url="staging.example.com"), "--url is not the address of a service"),
    ],
)
def test_a_malformed_environment_is_refused(environment: EnvironmentTarget, problem: str):
    with pytest.raises(InvalidInputError, match=problem):
        settings().with_environment(environment)


@pytest.mark.parametrize(
    ("configured", "asked", "chosen"),
    [
        ((), "", None),
        (("staging",), "", "staging"),
        (("qa",), "", "qa"),
        (("qa", "staging", "production"), "", "staging"),
        (("qa", "production"), "", "qa"),
        (("qa", "staging"), "qa", "qa"),
    ],
)
def test_ship_deploys_to_staging_or_the_only_other_environment(
    configured: tuple[str, ...], asked: str, chosen: str | None
):
    ship_target = settings(*configured).ship_target(asked)
    assert (ship_target.name if ship_target else None) == chosen


@pytest.mark.parametrize(
    ("configured", "asked", "problem"),
    [
        (("production",), "", "deploy: production is reached by a promotion only"),
        (("qa", "preview"), "", "ship: several environments are configured: qa, preview"),
        (("qa",), "staging", "no environment 'staging' is configured"),
    ],
)
def test_ship_never_guesses_its_environment(configured: tuple[str, ...], asked: str, problem: str):
    with pytest.raises(InvalidInputError, match=problem):
        settings(*configured).ship_target(asked)


def test_a_namespace_is_that_of_service_and_environment_unless_configured():
    assert target("staging").namespace_of("tiny") == "tiny-staging"
    assert target("staging", namespace="other").namespace_of("tiny") == "other"
    with pytest.raises(InvalidInputError, match=r"namespace 'my_service-staging' is not a valid"):
        target("staging").namespace_of("my_service")


# Registries


def test_without_a_registry_nothing_leaves_the_engine():
    assert settings().rehearsal
    assert not Settings(registry=Registry(address="ghcr.io/org/tiny", tool_image=TOOL)).rehearsal


def test_the_credentials_of_a_registry_go_to_its_host_alone():
    password = cast("dagger.Secret", object())
    configured = Settings(
        registry=Registry(address="ghcr.io/org/tiny", tool_image=TOOL, username="me", password=password)
    )
    same = configured.registry_of(Repository("ghcr.io", "org/other"))
    assert (same.address, same.username, same.password) == ("ghcr.io/org/other", "me", password)
    other = configured.registry_of(Repository("quay.io", "org/tiny"))
    assert (other.address, other.username, other.password) == ("quay.io/org/tiny", "", None)


def test_a_repository_is_read_anonymously_where_no_registry_is_configured():
    anonymous = Settings(images=Images(tool=TOOL)).registry_of(Repository("quay.io", "org/tiny"))
    assert (anonymous.address, anonymous.tool_image) == ("quay.io/org/tiny", TOOL)
    assert (anonymous.username, anonymous.password) == ("", None)


# Promotions


def test_the_approver_of_a_promotion_is_one_line():
    assert check_approver("  Ada Lovelace \n") == "Ada Lovelace"


@pytest.mark.parametrize("name", ["", "  \n", "Ada\nEve", "Ada\x1b[31m", "a" * 201])
def test_an_approver_that_is_empty_long_or_not_one_line_is_refused(name: str):
    with pytest.raises(InvalidInputError, match="promote: no approver is named"):
        check_approver(name)


def test_a_promotion_goes_to_another_environment_in_another_namespace():
    check_next(target("staging"), target("production"), "tiny")
    check_next(target("staging"), target("staging", server="https://two"), "tiny")
    check_next(
        target("staging", namespace="tiny"), target("production", server="https://two", namespace="tiny"), "tiny"
    )
    with pytest.raises(InvalidInputError, match="promote: from staging to staging"):
        check_next(target("staging"), target("staging", namespace="other"), "tiny")
    with pytest.raises(InvalidInputError, match="promote: staging and production share namespace tiny"):
        check_next(target("staging", namespace="tiny"), target("production", namespace="tiny"), "tiny")


def test_a_promotion_deploys_what_was_verified():
    record = DeploymentRecord(
        "run-1",
        "2026-01-05T12:00:00Z",
        action="deploy",
        reference="ghcr.io/org/tiny@sha256:x",
        commit="c",
        committed_at="2026-01-02T03:04:05Z",
        migrates=True,
        unsigned="not signed",
        link="https://ci.example.com/1",
    )
    request = promotion_of(record, approved_by="Ada", link="https://ci.example.com/2")
    assert (request.reference, request.commit, request.committed_at) == (
        record.reference,
        record.commit,
        record.committed_at,
    )
    assert (request.migrates, request.action, request.approved_by) == (True, "promote", "Ada")
    # The signature is verified again, and the link is that of the promotion.
    assert (request.unsigned, request.link) == ("", "https://ci.example.com/2")


def test_only_production_is_closed_to_a_deployment():
    check_deployable("staging")
    with pytest.raises(InvalidInputError, match="production is reached by a promotion only"):
        check_deployable("production")


# What the gates get of it


@pytest.mark.parametrize("brings_manifests", [True, False])
async def test_the_gate_judges_the_services_own_manifests(monkeypatch: pytest.MonkeyPatch, *, brings_manifests: bool):
    rendered = {}

    class Gates:
        def __init__(self, *arguments: object) -> None:
            rendered.update(cast("dict[str, object]", arguments[-1]))

        async def all(self, *_: object) -> None:
            pass

    monkeypatch.setattr(ship, "Gates", Gates)
    folder = cast("dagger.Directory", object())
    project = Project(name="tiny", path="service", directory=folder)
    staging = dataclasses.replace(target("staging"), manifests=folder if brings_manifests else None)
    manifests = {"staging": [{"kind": "Deployment"}]}
    preflight = ship.Preflight(project, Commit(sha="a" * 40), settings("staging"), staging, manifests)
    await ship._checked(Source(folder, "service", "git"), preflight, [])  # noqa: SLF001 - the one place that decides it
    assert rendered == ({} if brings_manifests else manifests)
