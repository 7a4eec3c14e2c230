"""The chain, stage by stage, on every engine that can be had. Each gate has a test in which it wait_stable closed."""

import hashlib
import io
import json
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import dagger
import pytest

from pipeline import images
from pipeline.api.scanned_image import ScannedImage
from pipeline.api.shipment import Shipment
from pipeline.core.errors import (
    GateClosedError,
    InvalidInputError,
    NotReadyError,
    RegistryError,
    ScannerUnavailableError,
    SlipwayError,
    SmokeFailedError,
    StageFailedError,
    causes,
)
from pipeline.oci.content import MEDIA_TYPES, content_of
from pipeline.oci.registry import Registry
from pipeline.report.verdict import Status
from pipeline.slipway import Slipway
from pipeline.source.commit import check_releasable, read_commit

Make = Callable[..., Slipway]
Scanner = Callable[[str], dagger.Container]
Faulty = Callable[[str], dagger.Service]

PUSH = Path(__file__).resolve().parents[1] / "fixtures" / "push-image.py"
FAR = "2099-12-31"


async def test_a_rehearsal_ends_with_a_digest_and_a_report(make: Make, scanner: Scanner):
    shipment = await make().with_scanner(scanner("clean")).ship()
    summary = await shipment.summary()
    assert summary.splitlines()[-1] == shipment.reference
    assert shipment.reference.startswith("localhost:5000/tiny@sha256:")
    report = shipment.report()
    document = json.loads(await report.file("report.json").contents())
    assert document["result"] == "passed"
    assert {stage["name"]: stage["result"] for stage in document["stages"]} == dict.fromkeys(
        ("check", "build", "scan", "publish", "deploy", "smoke"), "passed"
    )
    assert shipment.reference in await report.file("report.md").contents()
    assert set(await report.directory("scan").entries()) == {
        "trivy.json",
        "trivy.sarif",
        "trivy.txt",
        "sbom.cyclonedx.json",
        "sbom.spdx.json",
    }


async def test_each_stage_is_a_method_of_the_one_before(make: Make, scanner: Scanner):
    checked = await make().with_scanner(scanner("clean")).check()
    built = await checked.build()
    image = await built.scan()
    release = await image.publish()
    deployment = await release.deploy()
    verification = await deployment.smoke()
    assert verification.reference == release.reference
    assert verification.context.commit.sha == checked.context.commit.sha
    assert not hasattr(built, "publish")
    assert not hasattr(checked, "scan")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("fail-lint", "lint"),
        ("fail-typecheck", "typecheck"),
        ("fail-test", "test"),
        ("fail-test-integration", "test:integration"),
    ],
)
async def test_a_failing_gate_shows_the_output_of_its_tool(make: Make, file: str, name: str):
    with pytest.raises(StageFailedError) as caught:
        await make({f"service/{file}": "line 7: this is wrong"}).check()
    assert f"{name}: `npm" in str(caught.value)
    assert "exited with 3" in str(caught.value)
    assert "line 7: this is wrong" in str(caught.value)
    assert "try:" in str(caught.value)


async def test_a_failing_build_shows_the_tools_output(make: Make):
    checked = await make({"service/fail-build": "cannot find module"}).check()
    with pytest.raises(StageFailedError, match="cannot find module"):
        await checked.build()


async def test_source_without_a_manifest_is_refused(make: Make, repository: Path):
    (repository / "service" / "package.json").unlink()
    with pytest.raises(InvalidInputError, match=r"no package\.json"):
        await make().check()


async def test_a_missing_script_is_named(make: Make, repository: Path):
    manifest = repository / "service" / "package.json"
    manifest.write_text(manifest.read_text().replace('"lint"', '"lynt"'))
    with pytest.raises(InvalidInputError, match="no script 'lint'"):
        await make().check()


async def test_a_folder_that_is_not_there_is_named(make: Make):
    with pytest.raises(InvalidInputError, match="no folder 'elsewhere'"):
        await make(path="elsewhere").check()


async def test_a_commit_that_is_not_the_sources_is_refused(make: Make):
    with pytest.raises(InvalidInputError, match="is not the one that the source holds"):
        await make(commit="0" * 40).check()


async def test_integration_ends_at_its_deadline(make: Make, repository: Path):
    (repository / "service" / "scripts" / "check.mjs").write_text("setInterval(() => {}, 1000);")
    with pytest.raises(NotReadyError, match="did not end within 3 s"):
        await make().integration(seconds=3)


async def test_a_database_that_never_gets_ready_ends_the_integration_tests(make: Make):
    # A service that listens, but never where a database would.
    with pytest.raises(NotReadyError, match="a PostgreSQL that accepts connections"):
        await make(postgres_image=images.REGISTRY).integration(seconds=4)


async def test_a_database_that_never_gets_ready_ends_the_deployment(make: Make, scanner: Scanner):
    image = await scanned(make().with_scanner(scanner("clean")))
    release = await image.publish()
    release.context.settings.images.postgres = images.REGISTRY
    with pytest.raises(NotReadyError, match="the database: did not answer within 4 s"):
        await release.deploy(seconds=4)


async def test_the_image_runs_unprivileged_and_holds_no_package_manager_and_no_source(make: Make):
    built = await (await make().check()).build()
    container = built.container
    assert await container.user() == "1001:1001"
    assert await container.entrypoint() == ["node", "dist/main.js"]
    assert await container.workdir() == "/app"
    assert sorted(await container.directory("/app").entries()) == ["dist/", "node_modules/", "package.json"]
    for gone in ("/usr/local/bin/npm", "/usr/local/bin/npx", "/usr/local/lib/node_modules/npm"):
        assert not await container.exists(gone)
    assert [await port.port() for port in await container.exposed_ports()] == [3000]
    health = container.docker_healthcheck()
    assert "/healthz" in " ".join(await health.args())
    # Whoever starts the image need not wait for a whole interval, which is ten seconds.
    assert (await health.start_interval(), await health.start_period()) == ("500ms", "5s")


async def test_the_image_says_where_it_comes_from(make: Make):
    built = await (await make().check()).build()
    labels = {await label.name(): await label.value() for label in await built.container.labels()}
    assert labels["org.opencontainers.image.revision"] == built.context.commit.sha
    assert labels["org.opencontainers.image.created"] == built.context.commit.created
    assert labels["org.opencontainers.image.title"] == "tiny"


async def test_two_builds_of_one_commit_hold_the_same_layers(make: Make):
    layers = []
    for time in ("once", "again"):
        slipway = make()
        # Another npmrc: all is installed and built anew, and nothing of it enters the image.
        slipway.npmrc = dagger.dag.set_secret(f"npmrc-{time}", f"# {time}\n")
        built = await (await slipway.check()).build()
        node = dagger.dag.container().from_(built.context.settings.images.node)
        layers.append((await content_of([built.container], node)).layers)
    assert layers[0] == layers[1]


async def test_an_ignored_file_that_a_build_would_read_is_not_of_the_commit(make: Make, repository: Path):
    slipway = make({"service/.gitignore": "node_modules/\ndist/\n.env\nlocal.js\n"})
    for harmless in ("node_modules/x/index.js", "dist/old.js", ".env"):
        (repository / "service" / harmless).parent.mkdir(parents=True, exist_ok=True)
        (repository / "service" / harmless).write_text("1;")
    assert not (await slipway.check()).context.commit.dirty
    (repository / "service" / "src" / "local.js").write_text("1;")
    commit = (await make().check()).context.commit
    assert commit.changes == ["!! service/src/local.js"]
    with pytest.raises(InvalidInputError, match=r"uncommitted changes"):
        check_releasable(commit)


async def test_the_gate_closes_on_a_high_finding(make: Make, scanner: Scanner):
    built = await (await make().with_scanner(scanner("vulnerable")).check()).build()
    with pytest.raises(GateClosedError) as caught:
        await built.scan()
    assert "HIGH CVE-2021-23337 lodash 4.17.20, fixed in 4.17.21" in str(caught.value)
    evidence = await built.findings()
    assert "CVE-2021-23337" in await evidence.file("trivy.json").contents()
    assert "sbom.cyclonedx.json" in await evidence.entries()


async def test_a_closed_gate_pushes_nothing_and_still_has_a_report(
    make: Make, scanner: Scanner, registry: dagger.Container
):
    service = registry.as_service(use_entrypoint=True)
    slipway = make().with_registry("localhost:5000/gate", service=service).with_scanner(scanner("vulnerable"))
    shipment = await slipway.ship()
    assert not shipment.passed
    with pytest.raises(Exception, match="CVE-2021-23337"):
        await shipment.summary()
    report = json.loads(await shipment.report().file("report.json").contents())
    assert [stage["result"] for stage in report["stages"]][2:] == ["failed", "not run", "not run", "not run"]
    assert report["scan"]["status"] == "failed"
    assert "trivy.sarif" in await shipment.report().directory("scan").entries()
    assert not await pushed(service, "gate")


async def test_an_ignore_with_reason_and_date_opens_the_gate_and_is_reported(make: Make, scanner: Scanner):
    text = f"vulnerabilities:\n  - id: CVE-2021-23337\n    statement: never called\n    expired_at: {FAR}\n"
    text += f"  - id: CVE-1999-1\n    statement: gone long ago\n    expired_at: {FAR}\n"
    ignore = dagger.dag.directory().with_new_file("ignore", text).file("ignore")
    image = await scanned(make().with_scanner(scanner("vulnerable"), ignore=ignore))
    assert image.verdict.status == Status.PASSED
    assert image.verdict.warnings == ["the ignore of CVE-1999-1 matches no finding: remove it"]
    assert any("CVE-2021-23337" in line for line in image.verdict.ignored)


async def test_an_expired_ignore_is_an_error(make: Make, scanner: Scanner):
    text = "vulnerabilities:\n  - id: CVE-2021-23337\n    statement: never called\n    expired_at: 2020-01-01\n"
    shipment = await make({"service/.trivyignore.yaml": text}).with_scanner(scanner("vulnerable")).ship()
    with pytest.raises(Exception, match="CVE-2021-23337 expired on 2020-01-01"):
        await shipment.summary()


@pytest.mark.parametrize(
    ("mode", "reason"), [("no-database", "no vulnerability database"), ("old-database", "30 days old")]
)
async def test_without_a_fresh_database_there_is_no_verdict(make: Make, scanner: Scanner, mode: str, reason: str):
    slipway = make().with_registry("localhost:5000/app").with_scanner(scanner(mode))
    built = await (await slipway.check()).build()
    with pytest.raises(ScannerUnavailableError, match=reason):
        await built.scan()
    image = await built.scan(rehearsal=True)
    assert image.verdict.status == Status.UNAVAILABLE
    with pytest.raises(InvalidInputError, match="may only be rehearsed"):
        await image.publish()


async def test_a_scanner_that_crashes_is_neither_passed_nor_unavailable(make: Make, scanner: Scanner):
    built = await (await make().with_scanner(scanner("crash")).check()).build()
    with pytest.raises(StageFailedError, match="unable to open the image"):
        await built.scan(rehearsal=True)


async def test_scanning_other_bytes_than_were_built_stops_the_run(make: Make, scanner: Scanner):
    with pytest.raises(GateClosedError, match="the scanned image is not the built one"):
        await scanned(make().with_scanner(scanner("other-image")))


async def test_a_dirty_tree_may_only_be_rehearsed(make: Make, scanner: Scanner):
    image = await scanned(make(dirty="service/src/extra.js").with_scanner(scanner("clean")))
    assert image.context.commit.dirty
    release = await image.publish()
    assert release.reference.startswith("localhost:5000/tiny@sha256:")
    image.context.settings.registry = Registry(address="ghcr.io/org/app", tool_image=images.TOOL)
    with pytest.raises(InvalidInputError, match="uncommitted changes"):
        await image.publish()


async def test_source_folders_with_the_names_of_built_ones_are_built(make: Make):
    named = {f"service/src/{name}": "1;" for name in ("coverage/a.js", "dist/b.js", ".env.d.js")}
    built = await (await make(named).check()).build()
    files = await built.container.directory("/app/dist").glob("**")
    assert {"coverage/a.js", "dist/b.js", ".env.d.js"} <= set(files)


async def test_a_change_that_git_is_configured_to_ignore_is_seen(make: Make, repository: Path):
    make()
    changed = repository / "service" / "src" / "main.js"
    changed.write_text(changed.read_text() + "// not in any commit\n")
    hide = ["git", "-C", str(repository), "update-index", "--assume-unchanged", "service/src/main.js"]
    await anyio.run_process(hide)
    assert (await make().check()).context.commit.changes == [" M service/src/main.js"]


def _linked(repository: Path) -> dict[str, str]:
    (repository / "link").symlink_to("service")
    return {"path": "link"}


def _worktree(repository: Path) -> dict[str, str]:
    git_file = repository / ".git"
    git_file.rename(repository.parent / "elsewhere")
    git_file.write_text("gitdir: ../elsewhere\n")
    return {"commit": "a" * 40}


@pytest.mark.parametrize(
    ("arrange", "words"), [(_linked, "or it is a symbolic link"), (_worktree, "its .git is not a folder")]
)
async def test_source_is_refused_where_git_cannot_list_its_changes(
    dag: dagger.Client, make: Make, repository: Path, arrange: Callable[[Path], dict[str, str]], words: str
):
    make()
    arguments: dict[str, Any] = {"path": "service", **arrange(repository)}
    source = dag.host().directory(str(repository), no_cache=True)
    with pytest.raises(InvalidInputError, match=words):
        await Slipway(source=source, **arguments).check()


@pytest.mark.parametrize(
    "config",
    [
        {"core.worktree": "/tmp"},
        {"core.fsmonitor": "true"},
        {"filter.blind.clean": "git show HEAD:service/src/main.js", "core.attributesFile": "/source/blind"},
        {"status.showUntrackedFiles": "no", "core.ignoreStat": "true"},
    ],
)
async def test_no_configuration_hides_a_change(make: Make, repository: Path, config: dict[str, str]):
    make()
    (repository / "blind").write_text("*.js filter=blind\n")
    (repository / ".git" / "info" / "attributes").write_text("*.js filter=blind\n")
    for key, value in config.items():
        await anyio.run_process(["git", "-C", str(repository), "config", key, value])
    changed = repository / "service" / "src" / "main.js"
    changed.write_text(changed.read_text() + "// not in any commit\n")
    source = dagger.dag.host().directory(str(repository), no_cache=True)
    commit = await read_commit(source, "service", image=images.GIT)
    assert commit.changes == [" M service/src/main.js"]


async def test_a_submodule_in_the_service_is_not_of_the_commit(
    make: Make, repository: Path, commit_all: Callable[[Path], str]
):
    make()
    inner = repository / "service" / "src" / "inner"
    inner.mkdir()
    (inner / "a.js").write_text("1;")
    commit_all(inner)
    make({".gitmodules": '[submodule "x"]\n\tpath = service/src/inner\n\turl = ./x\n\tignore = all\n'})
    (inner / "a.js").write_text("2;")
    source = dagger.dag.host().directory(str(repository), no_cache=True)
    commit = await read_commit(source, "service", image=images.GIT)
    assert commit.changes == ["S  service/src/inner (submodule)"]


async def test_a_repository_without_commits_is_refused_with_gits_output(dag: dagger.Client, repository: Path):
    await anyio.run_process(["git", "init", "-q", "-b", "main", str(repository)])
    source = dag.host().directory(str(repository), no_cache=True)
    with pytest.raises(StageFailedError, match="try: commit something first"):
        await read_commit(source, "service", image=images.GIT)


@pytest.mark.parametrize("address", ["app", "https://ghcr.io/org/app", "ghcr.io/org/app:1", "ghcr.io/Org/app"])
async def test_a_malformed_registry_is_refused_before_anything_is_done(make: Make, address: str):
    with pytest.raises(InvalidInputError, match="not a repository address"):
        make().with_registry(address)


@pytest.mark.parametrize("ref", ["ghcr.io/org/app:1", "ghcr.io/org/app", "latest"])
async def test_a_tag_is_refused_where_a_digest_is_needed(make: Make, ref: str):
    with pytest.raises(InvalidInputError, match="not an image by digest"):
        await make().release(ref)


async def test_a_reference_that_does_not_exist_is_named(make: Make, registry: dagger.Container):
    service = registry.as_service(use_entrypoint=True)
    with pytest.raises(InvalidInputError, match="does not exist"):
        await at(make(), service).release("localhost:5000/none@sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "not a container image"),
        ({"os": "linux", "rootfs": {"diff_ids": []}, "config": {"Labels": None}}, "does not name its commit"),
    ],
)
async def test_what_is_not_a_release_is_refused(
    dag: dagger.Client, make: Make, registry: dagger.Container, config: dict[str, object], words: str
):
    service = await registry.as_service(use_entrypoint=True).start()
    client = (
        dag.container()
        .from_("python:3.13-slim")
        .with_file("/push", dag.host().file(str(PUSH)))
        .with_service_binding("registry", service)
    )
    pushed = client.with_exec(["python3", "/push", "registry:5000", "other", json.dumps(config), ""])
    digest = (await pushed.stdout()).strip()
    with pytest.raises(SlipwayError, match=words):
        await at(make(), service).release(f"localhost:5000/app@{digest}")


async def test_an_image_with_other_layers_than_its_config_names_never_passes_the_gate(
    dag: dagger.Client, registry: dagger.Container
):
    def layer_of(text: str) -> bytes:
        with io.BytesIO() as written, tarfile.open(fileobj=written, mode="w") as archive:
            member = tarfile.TarInfo("report")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
            archive.close()
            return written.getvalue()

    fresh = uuid.uuid4().hex
    honest, other = layer_of(f"honest {fresh}"), layer_of(f"other {fresh}")
    named = f"sha256:{hashlib.sha256(honest).hexdigest()}"
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [named]}}
    service = await registry.as_service(use_entrypoint=True).start()
    client = (
        dag.container()
        .from_("python:3.13-slim")
        .with_file("/push", dag.host().file(str(PUSH)))
        .with_service_binding("registry", service)
    )
    await client.with_exec(["python3", "/push", "registry:5000", "lying", json.dumps(config), other.hex()]).sync()
    image = dag.container().from_("localhost:5000/app:lying", registry_service=service)
    with pytest.raises(Exception, match=r"layer|unhandled errors") as caught:
        await content_of([image], dag.container().from_(images.TOOL))
    [cause] = causes(caught.value)
    # The embedded engine does not even take it.
    assert isinstance(cause, GateClosedError | dagger.QueryError)
    assert "layer" in str(cause)


async def test_a_published_release_can_be_read_by_digest(make: Make, scanner: Scanner, registry: dagger.Container):
    service = await registry.as_service(use_entrypoint=True).start()
    slipway = at(make(), service).with_scanner(scanner("clean"))
    image = await scanned(slipway)
    published = await image.publish()
    release = await slipway.release(published.reference)
    assert release.context.commit.sha == published.context.commit.sha
    again = await image.publish()
    assert again.reference == published.reference
    await service.stop()


async def test_a_release_is_scanned_again_with_what_is_known_by_then(
    make: Make, scanner: Scanner, registry: dagger.Container
):
    service = await registry.as_service(use_entrypoint=True).start()
    slipway = at(make(), service)
    published = await (await scanned(slipway.with_scanner(scanner("clean")))).publish()

    async def rescan(mode: str) -> Shipment:
        return await (await slipway.with_scanner(scanner(mode)).release(published.reference)).rescan()

    assert (await rescan("clean")).passed
    found = await rescan("vulnerable")
    assert not found.passed
    assert "CVE-" in found.markdown
    assert json.loads(found.document)["reference"] == published.reference
    assert "scan/" in await found.report().entries()
    with pytest.raises(SlipwayError, match="CVE-"):
        await found.summary()
    assert not (await rescan("no-database")).passed
    with pytest.raises(GateClosedError, match="the scanned image is not"):
        await rescan("other-image")
    await service.stop()


async def test_a_tag_is_never_given_other_content(make: Make, scanner: Scanner, registry: dagger.Container):
    service = await registry.as_service(use_entrypoint=True).start()
    first = await scanned(at(make(), service).with_scanner(scanner("clean")))
    await first.publish(tag="v1")
    second = await scanned(at(make({"service/src/new.js": "1;"}), service).with_scanner(scanner("clean")))
    with pytest.raises(RegistryError, match="holds other content already"):
        await second.publish(tag="v1")
    await service.stop()


async def test_the_same_files_with_another_config_are_other_content(
    make: Make, scanner: Scanner, registry: dagger.Container
):
    service = await registry.as_service(use_entrypoint=True).start()
    image = await scanned(at(make(), service).with_scanner(scanner("clean")))
    evil = image.container.with_user("0:0").with_entrypoint(["node", "-e", "0"])
    await evil.publish("localhost:5000/app:v1", media_types=MEDIA_TYPES, registry_service=service)
    with pytest.raises(RegistryError, match="holds other content already"):
        await image.publish(tag="v1")
    await service.stop()


async def test_a_registry_that_always_fails_ends_the_run_with_its_output(make: Make, scanner: Scanner, faulty: Faulty):
    image = await scanned(at(make(), faulty("always-500")).with_scanner(scanner("clean")))
    with pytest.raises(RegistryError, match="failed 5 times") as caught:
        await image.publish()
    assert "500" in str(caught.value)


async def test_a_registry_that_recovers_gets_its_image(make: Make, scanner: Scanner, faulty: Faulty):
    image = await scanned(at(make(), faulty("twice-500")).with_scanner(scanner("clean")))
    release = await image.publish()
    assert release.digest.startswith("sha256:")


async def test_a_registry_that_serves_other_bytes_is_caught(make: Make, scanner: Scanner, faulty: Faulty):
    image = await scanned(at(make(), faulty("other-bytes")).with_scanner(scanner("clean")))
    with pytest.raises(RegistryError, match="other bytes"):
        await image.publish()


async def test_a_wrong_password_is_refused_at_once(make: Make, scanner: Scanner, registry: dagger.Container):
    # `htpasswd -Bbn captain right`
    users = "captain:$2y$05$BkbiQlSQ2m9CWEGUTSIHZ.Tvy0Rbd4Ozvhy7mtogvKlncVnFMIcfG\n"
    service = (
        registry.with_new_file("/auth/htpasswd", users)
        .with_env_variable("REGISTRY_AUTH", "htpasswd")
        .with_env_variable("REGISTRY_AUTH_HTPASSWD_REALM", "test")
        .with_env_variable("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd")
        .as_service(use_entrypoint=True)
    )
    password = dagger.dag.set_secret("wrong", "a-wrong-password")
    slipway = make().with_registry("localhost:5000/app", "captain", password, service)
    image = await scanned(slipway.with_scanner(scanner("clean")))
    with pytest.raises(RegistryError, match="401") as caught:
        await image.publish()
    assert "a-wrong-password" not in str(caught.value)


async def test_a_service_that_never_listens_is_given_up(make: Make, scanner: Scanner):
    image = await scanned(make({"service/src/main.js": "setInterval(() => {}, 1000);"}).with_scanner(scanner("clean")))
    release = await image.publish()
    with pytest.raises(NotReadyError, match="the service: did not answer within 8 s"):
        await release.deploy(seconds=8)


async def test_a_service_that_dies_at_once_is_named(make: Make, scanner: Scanner):
    text = "console.error('no such setting'); process.exit(7);"
    image = await scanned(make({"service/src/main.js": text}).with_scanner(scanner("clean")))
    release = await image.publish()
    with pytest.raises(NotReadyError, match="the service: did not start"):
        await release.deploy()


async def test_a_failing_dry_run_of_the_migration_stops_the_deployment(make: Make, scanner: Scanner):
    text = "console.error('column exists'); process.exit(1);"
    image = await scanned(make({"service/src/migrate.js": text}).with_scanner(scanner("clean")))
    release = await image.publish()
    with pytest.raises(StageFailedError, match="dry run") as caught:
        await release.deploy()
    assert "column exists" in str(caught.value)


async def test_another_commits_version_fails_the_smoke_test(make: Make, repository: Path, scanner: Scanner):
    main = repository / "service" / "src" / "main.js"
    main.write_text(main.read_text().replace('"/version": info', '"/version": { commit: "another" }'))
    image = await scanned(make().with_scanner(scanner("clean")))
    deployment = await (await image.publish()).deploy()
    with pytest.raises(SmokeFailedError) as caught:
        await deployment.smoke(attempts=2)
    assert "answered commit another" in str(caught.value)
    assert "2 of 2 attempts" in str(caught.value)


async def test_a_failing_round_trip_fails_the_smoke_test(make: Make, scanner: Scanner):
    image = await scanned(make().with_scanner(scanner("clean")))
    deployment = await (await image.publish()).deploy()
    test = dagger.dag.directory().with_new_file("t.mjs", "export default () => { throw new Error('no berth'); };")
    with pytest.raises(SmokeFailedError, match="round trip failed: no berth"):
        await deployment.smoke(test=test.file("t.mjs"), attempts=1)


async def test_what_a_services_own_test_prints_is_no_result(make: Make, scanner: Scanner):
    image = await scanned(make().with_scanner(scanner("clean")))
    deployment = await (await image.publish()).deploy()
    tests = dagger.dag.directory().with_new_file("chatty.mjs", "export default () => console.log('a line');")
    await deployment.smoke(test=tests.file("chatty.mjs"), attempts=1)
    text = "console.log(JSON.stringify({ passed: true, attempts: 1, checks: [] })); process.exit(0);"
    with pytest.raises(SmokeFailedError, match="ended without a result"):
        await deployment.smoke(test=tests.with_new_file("liar.mjs", text).file("liar.mjs"), attempts=1)


async def test_a_smoke_test_runs_every_time(make: Make, scanner: Scanner):
    image = await scanned(make().with_scanner(scanner("clean")))
    deployment = await (await image.publish()).deploy()
    await deployment.smoke(attempts=1)
    assert deployment.service
    await deployment.service.stop(kill=True)
    broken = dagger.dag.container().from_(deployment.context.settings.images.node).with_exposed_port(3000)
    deployment.service = broken.as_service(
        args=["node", "-e", "require('http').createServer((q,r)=>{r.statusCode=500;r.end('down')}).listen(3000)"]
    )
    with pytest.raises(SmokeFailedError, match="/healthz answered 500"):
        await deployment.smoke(attempts=1)


MANIFESTS = {
    "service/deploy/overlays/staging/kustomization.yaml": "resources: [all.yaml]",
    "service/deploy/overlays/staging/all.yaml": "{apiVersion: v1, kind: Service, metadata: {name: t}, spec: {prts: 1}}",
}


async def test_manifests_that_no_cluster_would_take_close_the_gate(make: Make):
    with pytest.raises(InvalidInputError, match=r"manifests for staging: (.|\n)*service/t: spec: (.|\n)*'prts' was"):
        await make(MANIFESTS).check()


async def test_manifests_that_cannot_be_rendered_say_why(make: Make):
    broken = {"service/deploy/overlays/staging/kustomization.yaml": "resources: [none.yaml]"}
    with pytest.raises(InvalidInputError, match=r"overlays/staging cannot be rendered(.|\n)*none\.yaml"):
        await make(broken).manifests()


async def test_a_service_without_manifests_passes(make: Make):
    assert await make().manifests() == "none: the service has no manifests"


async def scanned(slipway: Slipway) -> ScannedImage:
    """Take the source of a module through the chain until its image is scanned."""
    return await (await (await slipway.check()).build()).scan()


def at(slipway: Slipway, service: dagger.Service) -> Slipway:
    """Return the module with a registry that is a service of the session."""
    return slipway.with_registry("localhost:5000/app", service=service)


async def pushed(service: dagger.Service, repository: str) -> bool:
    """Whether the registry has any tag of a repository."""
    ask = f"fetch('http://registry:5000/v2/{repository}/tags/list').then(a => console.log(a.status))"
    answer = (
        await dagger.dag.container()
        .from_("node:24-alpine")
        .with_service_binding("registry", service)
        .with_env_variable("RUN", uuid.uuid4().hex)
        .with_exec(["node", "-e", ask])
        .stdout()
    )
    return answer.strip() == "200"
