"""Running commands."""

import dagger
import pytest
from dagger import ReturnType


async def test_stdout_stderr_and_combined_output_are_kept_apart(debian: dagger.Container):
    ran = debian.with_exec(["sh", "-c", "echo out; echo err >&2"])
    assert await ran.stdout() == "out\n"
    assert await ran.stderr() == "err\n"
    assert sorted((await ran.combined_output()).splitlines()) == ["err", "out"]


async def test_a_failing_command_carries_its_words_and_its_code(debian: dagger.Container):
    with pytest.raises(dagger.ExecError) as caught:
        await debian.with_exec(["sh", "-c", "echo said; echo why >&2; exit 3"]).sync()
    assert caught.value.exit_code == 3
    assert caught.value.stdout == "said"
    assert caught.value.stderr == "why"
    assert caught.value.command == ["sh", "-c", "echo said; echo why >&2; exit 3"]


async def test_any_lets_a_failure_through_with_its_files(debian: dagger.Container):
    ran = debian.with_exec(["sh", "-c", "echo made > /made; exit 4"], expect=ReturnType.ANY)
    assert await ran.exit_code() == 4
    assert await ran.file("/made").contents() == "made\n"


async def test_failure_is_wanted_where_it_is_expected(debian: dagger.Container):
    assert await debian.with_exec(["false"], expect=ReturnType.FAILURE).exit_code() == 1
    with pytest.raises(dagger.QueryError):
        await debian.with_exec(["true"], expect=ReturnType.FAILURE).sync()


async def test_a_command_killed_by_a_signal_fails_whatever_is_expected(debian: dagger.Container):
    with pytest.raises(dagger.ExecError) as caught:
        await debian.with_exec(["sh", "-c", "kill -9 $$"], expect=ReturnType.ANY).sync()
    assert caught.value.exit_code == 128 + 9


async def test_a_command_that_is_not_there_is_named(debian: dagger.Container):
    with pytest.raises(dagger.ExecError) as caught:
        await debian.with_exec(["no-such-command"]).sync()
    assert caught.value.exit_code == 1
    assert "no-such-command" in caught.value.stderr


async def test_without_any_command_the_output_is_an_error(debian: dagger.Container):
    with pytest.raises(dagger.QueryError, match="no command"):
        await debian.stdout()


async def test_stdin_reaches_the_command(debian: dagger.Container):
    assert await debian.with_exec(["cat"], stdin="from outside\n").stdout() == "from outside\n"


async def test_redirected_output_is_a_file_and_still_known(debian: dagger.Container):
    ran = debian.with_exec(["sh", "-c", "echo out; echo err >&2"], redirect_stdout="/out", redirect_stderr="/err")
    assert await ran.file("/out").contents() == "out\n"
    assert await ran.file("/err").contents() == "err\n"
    assert await ran.stdout() == "out\n"


async def test_entrypoint_and_default_args_are_used_when_asked_for(debian: dagger.Container):
    ctr = debian.with_entrypoint(["echo", "entry"]).with_default_args(["default"])
    assert await ctr.with_exec([], use_entrypoint=True).stdout() == "entry default\n"
    assert await ctr.with_exec(["given"], use_entrypoint=True).stdout() == "entry given\n"
    assert await ctr.with_exec(["echo", "plain"]).stdout() == "plain\n"


async def test_variables_are_expanded_only_when_asked_for(debian: dagger.Container):
    ctr = debian.with_env_variable("WHO", "world")
    assert await ctr.with_exec(["echo", "hello $WHO"], expand=True).stdout() == "hello world\n"
    assert await ctr.with_exec(["echo", "hello $WHO"]).stdout() == "hello $WHO\n"


async def test_a_missing_working_directory_is_made(debian: dagger.Container):
    ran = debian.with_workdir("/not/yet").with_exec(["sh", "-c", "pwd; echo x > here"])
    assert await ran.stdout() == "/not/yet\n"
    assert await ran.file("/not/yet/here").contents() == "x\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [("", "0:0"), ("1001:1002", "1001:1002"), ("nobody", "65534:65534"), ("nobody:root", "65534:0")],
)
async def test_a_command_runs_as_its_user(debian: dagger.Container, user: str, expected: str):
    ctr = debian.with_user(user) if user else debian
    assert await ctr.with_exec(["sh", "-c", "echo $(id -u):$(id -g)"]).stdout() == f"{expected}\n"


async def test_an_unknown_user_is_named(debian: dagger.Container):
    with pytest.raises(dagger.QueryError, match="nosuchuser"):
        await debian.with_user("nosuchuser").with_exec(["true"]).sync()


async def test_home_follows_the_user_unless_it_is_set(debian: dagger.Container):
    assert await debian.with_exec(["sh", "-c", "echo $HOME"]).stdout() == "/root\n"
    ctr = debian.with_env_variable("HOME", "/elsewhere")
    assert await ctr.with_exec(["sh", "-c", "echo $HOME"]).stdout() == "/elsewhere\n"


async def test_what_a_command_starts_ends_with_it(debian: dagger.Container):
    ran = debian.with_exec(["sh", "-c", "sleep 1000 & echo done"])
    assert await ran.stdout() == "done\n"


async def test_root_in_a_container_may_not_mount(debian: dagger.Container):
    ran = debian.with_exec(["mount", "-t", "tmpfs", "none", "/mnt"], expect=ReturnType.ANY)
    assert await ran.exit_code() != 0


async def test_a_command_sees_its_own_processes_only(debian: dagger.Container):
    seen = await debian.with_exec(["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).stdout()
    assert int(seen) < 10


async def test_two_commands_may_listen_on_the_same_port_at_once(python: dagger.Container, fresh: str):
    import anyio

    listen = "import socket, time; s = socket.create_server(('', 7777)); time.sleep(0.5); print('listened')"
    async with anyio.create_task_group() as tasks:
        for number in range(2):
            ctr = python.with_env_variable("RUN", f"{fresh}{number}")
            tasks.start_soon(ctr.with_exec(["python3", "-c", listen]).sync)
