"""Mounts: seen by commands, never part of the image."""

import anyio
import dagger
import pytest


async def test_a_mounted_directory_is_writable_and_stays_out_of_the_image(dag: dagger.Client, debian: dagger.Container):
    source = dag.directory().with_new_file("in", "in")
    ctr = debian.with_mounted_directory("/m/src", source).with_exec(
        ["sh", "-c", "cat /m/src/in; echo new > /m/src/out"]
    )
    assert await ctr.stdout() == "in"
    assert await ctr.directory("/m/src").entries() == ["in", "out"]
    assert await ctr.with_exec(["cat", "/m/src/out"]).stdout() == "new\n"
    assert not await ctr.rootfs().exists("m/src/out")
    assert not await ctr.without_mount("/m/src").exists("/m/src/out")
    assert await source.entries() == ["in"]


async def test_a_mounted_file_is_seen(dag: dagger.Client, debian: dagger.Container):
    file = dag.directory().with_new_file("f", "mounted").file("f")
    assert (
        await debian.with_mounted_file("/etc/mine.conf", file).with_exec(["cat", "/etc/mine.conf"]).stdout()
        == "mounted"
    )


async def test_a_mount_has_its_owner(dag: dagger.Client, debian: dagger.Container):
    source = dag.directory().with_new_file("f", "x")
    ctr = debian.with_mounted_directory("/src", source, owner="1000:1001")
    assert await ctr.with_exec(["stat", "-c", "%u:%g", "/src/f"]).stdout() == "1000:1001\n"


async def test_a_cache_volume_outlives_its_container(dag: dagger.Client, debian: dagger.Container, fresh: str):
    cache = dag.cache_volume(fresh)
    ctr = debian.with_mounted_cache("/cache", cache)
    await ctr.with_exec(["sh", "-c", "echo kept > /cache/file"]).sync()
    assert await ctr.with_env_variable("RUN", fresh).with_exec(["cat", "/cache/file"]).stdout() == "kept\n"
    assert not await ctr.with_exec(["true"]).rootfs().exists("cache/file")


async def test_a_locked_cache_volume_serves_one_command_at_a_time(
    dag: dagger.Client, debian: dagger.Container, fresh: str
):
    sharing = dagger.CacheSharingMode.LOCKED
    ctr = debian.with_mounted_cache("/cache", dag.cache_volume(fresh), sharing=sharing)
    alone = ["sh", "-c", "mkdir /cache/busy && sleep 0.3 && rmdir /cache/busy"]
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(ctr.with_env_variable("RUN", str(number)).with_exec(alone).sync)


async def test_a_temporary_mount_is_empty_each_time(debian: dagger.Container):
    ctr = debian.with_mounted_temp("/scratch").with_exec(["sh", "-c", "echo x > /scratch/f"])
    assert await ctr.with_exec(["ls", "/scratch"]).stdout() == ""


async def test_mounts_are_listed(dag: dagger.Client, debian: dagger.Container):
    assert await debian.with_mounted_directory("/a", dag.directory()).with_mounted_temp("/b").mounts() == ["/a", "/b"]


async def test_files_written_over_a_mount_go_into_it(dag: dagger.Client, debian: dagger.Container):
    ctr = debian.with_mounted_directory("/src", dag.directory()).with_new_file("/src/f", "x")
    assert await ctr.directory("/src").entries() == ["f"]
    assert not await ctr.rootfs().exists("src/f")


@pytest.mark.drydock
async def test_nothing_of_the_engine_is_left_in_a_layer(debian: dagger.Container, dag: dagger.Client):
    before = debian.rootfs()
    secret = dag.set_secret("s", "x")
    ran = (
        debian.with_mounted_directory("/one/two", dag.directory())
        .with_mounted_cache("/three", dag.cache_volume("x"))
        .with_mounted_secret("/run/four", secret)
        .with_exec(["true"])
    )
    assert await ran.rootfs().changes(before).is_empty()
