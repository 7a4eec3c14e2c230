"""What is answered from cache, and what is not."""

import dagger
import pytest

UUID = ["cat", "/proc/sys/kernel/random/uuid"]


async def test_the_same_command_on_the_same_inputs_runs_once(debian: dagger.Container, fresh: str):
    ctr = debian.with_env_variable("RUN", fresh)
    assert await ctr.with_exec(UUID).stdout() == await ctr.with_exec(UUID).stdout()


async def test_two_leaves_that_are_asked_at_once_run_the_command_once(debian: dagger.Container, fresh: str):
    import anyio

    said: list[str] = []
    ran = debian.with_env_variable("RUN", fresh).with_exec(["sh", "-c", "sleep 0.3; cat /proc/sys/kernel/random/uuid"])

    async def ask() -> None:
        said.append(await ran.stdout())

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask)
    assert len(set(said)) == 1


@pytest.mark.parametrize("change", ["variable", "file", "argument", "workdir", "user"])
async def test_whatever_a_command_depends_on_makes_it_run_again(debian: dagger.Container, fresh: str, change: str):
    ctr = debian.with_env_variable("RUN", fresh)
    other = {
        "variable": ctr.with_env_variable("OTHER", "1"),
        "file": ctr.with_new_file("/file", "1"),
        "argument": ctr,
        "workdir": ctr.with_workdir("/tmp"),
        "user": ctr.with_user("1000"),
    }[change]
    args = [*UUID, "/dev/null"] if change == "argument" else UUID
    assert await ctr.with_exec(UUID).stdout() != await other.with_exec(args).stdout()


async def test_a_volatile_variable_is_seen_and_makes_nothing_run_again(debian: dagger.Container, fresh: str):
    ctr = debian.with_env_variable("RUN", fresh)
    command = ["sh", "-c", "echo $ID; cat /proc/sys/kernel/random/uuid"]
    first = await ctr.with_volatile_variable("ID", "one").with_exec(command).stdout()
    assert first.startswith("one\n")
    assert await ctr.with_volatile_variable("ID", "two").with_exec(command).stdout() == first


async def test_a_failure_is_tried_again(dag: dagger.Client, debian: dagger.Container, fresh: str):
    cache = dag.cache_volume(fresh)
    ran = debian.with_mounted_cache("/state", cache).with_exec(
        ["sh", "-c", "test -e /state/seen || ! touch /state/seen"]
    )
    with pytest.raises(dagger.ExecError):
        await ran.sync()
    await ran.sync()


async def test_builders_do_no_work(debian: dagger.Container):
    broken = debian.with_exec(["false"]).with_env_variable("A", "b").with_exec(["no-such-command"])
    assert await broken.id()


async def test_an_instance_never_changes(debian: dagger.Container):
    before = debian.with_env_variable("A", "1")
    before.with_env_variable("A", "2")
    before.with_new_file("/new", "x")
    assert await before.env_variable("A") == "1"
    assert not await before.exists("/new")


@pytest.mark.drydock
async def test_a_change_beside_the_chosen_files_changes_nothing(
    dag: dagger.Client, debian: dagger.Container, fresh: str
):
    def run(readme: str) -> dagger.Container:
        source = dag.directory().with_new_file("src/main", fresh).with_new_file("README", readme)
        return debian.with_directory("/src", source.filter(include=["src/**"])).with_exec(UUID)

    assert await run("a").stdout() == await run("b").stdout()
