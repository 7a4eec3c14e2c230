"""Images: published, pulled back by digest, packed."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import dagger
import pytest

REGISTRY = "registry:2"
PUSH = Path(__file__).resolve().parents[2] / "fixtures" / "push-image.py"


@pytest.fixture
def registry(dag: dagger.Client, fresh: str) -> dagger.Service:
    ctr = dag.container().from_(REGISTRY).with_env_variable("RUN", fresh).with_exposed_port(5000)
    return ctr.as_service(use_entrypoint=True)


def app(debian: dagger.Container, fresh: str) -> dagger.Container:
    return (
        debian.with_new_file("/app/run", fresh, owner="1001:1001")
        .with_entrypoint(["cat", "/app/run"])
        .with_user("1001:1001")
        .with_label("org.example.commit", fresh)
    )


async def test_what_is_published_comes_back_by_digest(
    dag: dagger.Client, debian: dagger.Container, registry: dagger.Service, fresh: str
):
    reference = await app(debian, fresh).publish("localhost:5000/app:v1", registry_service=registry)
    address, _, digest = reference.partition("@")
    assert address == "localhost:5000/app:v1"
    assert digest.startswith("sha256:")
    back = dag.container().from_(f"localhost:5000/app@{digest}", registry_service=registry)
    assert await back.with_exec([], use_entrypoint=True).stdout() == fresh
    assert await back.user() == "1001:1001"
    assert await back.label("org.example.commit") == fresh
    assert (await back.image_ref()).endswith(digest)


async def test_publishing_again_gives_the_same_digest(debian: dagger.Container, registry: dagger.Service, fresh: str):
    image = app(debian, fresh)
    first = await image.publish("localhost:5000/app:v1", registry_service=registry)
    second = await image.publish("localhost:5000/app:v2", registry_service=registry)
    assert first.partition("@")[2] == second.partition("@")[2]


async def test_an_image_that_is_not_there_is_named(dag: dagger.Client, registry: dagger.Service):
    with pytest.raises(dagger.QueryError, match="nowhere"):
        await dag.container().from_("localhost:5000/nowhere:v1", registry_service=registry).sync()


async def test_a_malformed_reference_is_refused(dag: dagger.Client):
    with pytest.raises(dagger.QueryError, match="Not A Reference"):
        await dag.container().from_("Not A Reference").sync()


def guarded(dag: dagger.Client, fresh: str, port: int) -> dagger.Service:
    """A registry that wants a password. Engines remember credentials by host and port: each test has its own port."""
    line = "user:$2b$05$3ritcXebSCkd0.5XrsQn7uO2SADHYgXmc1.KJbG6QSU9jDpXO0hE6"  # `right`, as `htpasswd -B` writes it
    return (
        dag.container()
        .from_(REGISTRY)
        .with_env_variable("RUN", fresh)
        .with_new_file("/auth/htpasswd", line + "\n")
        .with_env_variable("REGISTRY_AUTH", "htpasswd")
        .with_env_variable("REGISTRY_AUTH_HTPASSWD_REALM", "realm")
        .with_env_variable("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd")
        .with_env_variable("REGISTRY_HTTP_ADDR", f":{port}")
        .with_exposed_port(port)
        .as_service(use_entrypoint=True)
    )


async def test_wrong_credentials_are_refused_and_not_shown(dag: dagger.Client, debian: dagger.Container, fresh: str):
    secret = dag.set_secret("wrong", "wr0ng-password")
    image = app(debian, fresh).with_registry_auth("localhost:5001", "user", secret)
    with pytest.raises(dagger.QueryError, match=r"(?i)unauthorized|authentication|401") as caught:
        await image.publish("localhost:5001/app:v1", registry_service=guarded(dag, fresh, 5001))
    assert "wr0ng-password" not in str(caught.value)


async def test_right_credentials_open_a_registry(dag: dagger.Client, debian: dagger.Container, fresh: str):
    image = app(debian, fresh).with_registry_auth("localhost:5002", "user", dag.set_secret("right", "right"))
    assert "@sha256:" in await image.publish("localhost:5002/app:v1", registry_service=guarded(dag, fresh, 5002))


async def test_a_tarball_is_an_oci_layout_that_can_be_imported(
    dag: dagger.Client, debian: dagger.Container, fresh: str, tmp_path: Path
):
    image = app(debian, fresh)
    await image.as_tarball().export(str(tmp_path / "image.tar"))
    with tarfile.open(tmp_path / "image.tar") as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        manifest_name = index["manifests"][0]["digest"].replace("sha256:", "blobs/sha256/")
        manifest = json.load(tar.extractfile(manifest_name))  # type: ignore[arg-type]
        config = json.load(tar.extractfile(manifest["config"]["digest"].replace("sha256:", "blobs/sha256/")))  # type: ignore[arg-type]
    assert config["config"]["User"] == "1001:1001"
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
    back = dag.container().import_(image.as_tarball())
    assert await back.file("/app/run").contents() == fresh


async def test_a_removed_file_is_gone_from_the_image(
    dag: dagger.Client, debian: dagger.Container, registry: dagger.Service, fresh: str
):
    image = debian.with_new_file(f"/{fresh}/a", "a").with_new_file(f"/{fresh}/b", "b").without_file(f"/{fresh}/a")
    reference = await image.publish("localhost:5000/app:v1", registry_service=registry)
    back = dag.container().from_(reference.replace(":v1@", "@"), registry_service=registry)
    assert await back.directory(f"/{fresh}").entries() == ["b"]


def layer_of(text: str) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            member = tarfile.TarInfo("told")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        return file.getvalue()


# A Dagger Engine (v0.21.8) was seen to take such an image without a word: a promise of this engine only.
@pytest.mark.drydock
async def test_an_image_whose_layer_is_not_the_one_its_config_names_is_refused(
    dag: dagger.Client, python: dagger.Container, registry: dagger.Service, fresh: str
):
    honest, other = layer_of(f"honest {fresh}"), layer_of(f"other {fresh}")
    diff_id = f"sha256:{hashlib.sha256(honest).hexdigest()}"
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    client = python.with_file("/push", dag.host().file(str(PUSH))).with_service_binding(
        "registry", await registry.start()
    )
    for tag, layer in (("lying", other), ("honest", honest)):
        argv = ["python3", "/push", "registry:5000", tag, json.dumps(config), layer.hex()]
        await client.with_exec(argv).sync()
    with pytest.raises(dagger.QueryError, match=r"(?i)layer|diff ?id"):
        await dag.container().from_("localhost:5000/app:lying", registry_service=registry).file("told").contents()
    taken = dag.container().from_("localhost:5000/app:honest", registry_service=registry)
    assert await taken.file("told").contents() == f"honest {fresh}"


@pytest.mark.drydock
def test_the_same_image_has_the_same_digest_from_a_cold_cache(run_script: Callable[..., object], tmp_path: Path):
    lines = """
base = dag.container().with_new_file("/etc/passwd", "root:x:0:0::/:/bin/sh")
files = dag.directory().with_new_file("b", "b").with_new_file("sub/a", "a").with_timestamps(1700000000)
image = base.with_directory("/app", files, owner="1001:1001").without_file("/app/b").with_symlink("sub/a", "/app/l")
image = image.with_label("org.opencontainers.image.created", "2026-01-02T03:04:05Z").with_user("1001:1001")
print(await image.as_tarball().digest(exclude_metadata=True))
"""
    digests = {run_script(lines, tmp_path / name).stdout for name in ("one", "two")}  # type: ignore[attr-defined]
    assert len(digests) == 1
    assert next(iter(digests)).startswith("sha256:")


@pytest.mark.drydock
async def test_a_made_base_image_never_goes_by_the_digest_that_was_asked_for(dag: dagger.Client):
    asked = "sha256:" + "ab" * 32
    assert asked not in await dag.container().from_(f"debian:trixie-slim@{asked}").image_ref()


@pytest.mark.drydock
def test_files_newer_than_the_image_are_written_with_its_time(run_script: Callable[..., object]):
    lines = """
import json, tarfile, tempfile, gzip, io
image = dag.container().from_("debian:trixie-slim").with_exec(["sh", "-c", "echo now > /now"])
image = image.with_label("org.opencontainers.image.created", "2020-01-02T03:04:05Z")
path = tempfile.mkdtemp() + "/image.tar"
await image.as_tarball().export(path)
tar = tarfile.open(path)
blob = lambda d: tar.extractfile(d.replace("sha256:", "blobs/sha256/")).read()
manifest = json.loads(blob(json.load(tar.extractfile("index.json"))["manifests"][0]["digest"]))
layer = tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(manifest["layers"][-1]["digest"]))))
print([(m.name, int(m.mtime)) for m in layer])
"""
    done = run_script(lines, cache=_ordinary())
    assert done.stdout == "[('now', 1577934245)]\n", done.stderr  # type: ignore[attr-defined]


def _ordinary() -> Path:
    from drydock.store import cache_folder

    return cache_folder()
