"""What a container knows without running anything."""

import dagger
import pytest


async def test_configuration_is_set_read_and_taken_back(debian: dagger.Container):
    ctr = (
        debian.with_env_variable("A", "1")
        .with_env_variable("B", "${A}2", expand=True)
        .with_user("1001:1001")
        .with_workdir("/app")
        .with_workdir("sub")
        .with_label("k", "v")
        .with_entrypoint(["/bin/echo"])
        .with_default_args(["x"])
        .with_exposed_port(3000, description="http")
    )
    assert await ctr.env_variable("B") == "12"
    assert await ctr.user() == "1001:1001"
    assert await ctr.workdir() == "/app/sub"
    assert await ctr.label("k") == "v"
    assert [await label.name() for label in await ctr.labels() if await label.name() == "k"] == ["k"]
    assert await ctr.entrypoint() == ["/bin/echo"]
    assert await ctr.default_args() == ["x"]
    assert [await port.port() for port in await ctr.exposed_ports()] == [3000]
    assert [await port.description() for port in await ctr.exposed_ports()] == ["http"]
    bare = (
        ctr.without_env_variable("A").without_user().without_label("k").without_entrypoint().without_exposed_port(3000)
    )
    assert await bare.env_variable("A") is None
    assert await bare.user() == ""
    assert await bare.label("k") is None
    assert await bare.entrypoint() == []
    assert await bare.default_args() == []
    assert await bare.exposed_ports() == []


async def test_a_new_entrypoint_drops_the_default_args_unless_told_otherwise(debian: dagger.Container):
    ctr = debian.with_default_args(["x"])
    assert await ctr.with_entrypoint(["e"]).default_args() == []
    assert await ctr.with_entrypoint(["e"], keep_default_args=True).default_args() == ["x"]


async def test_a_health_check_is_kept(debian: dagger.Container):
    check = debian.with_docker_healthcheck(
        ["true"], interval="30s", timeout="3s", start_period="1m30s", start_interval="500ms", retries=3
    ).docker_healthcheck()
    assert await check.args() == ["true"]
    assert await check.retries() == 3
    assert await check.interval() == "30s"
    assert await check.timeout() == "3s"
    assert await check.start_period() == "1m30s"
    assert await check.start_interval() == "500ms"
    assert not await check.shell()


async def test_a_health_check_without_times_has_none(debian: dagger.Container):
    check = debian.with_docker_healthcheck(["true"]).docker_healthcheck()
    times = [check.interval(), check.timeout(), check.start_period(), check.start_interval()]
    assert [await time for time in times] == ["0s"] * 4


async def test_a_variable_keeps_what_follows_an_equals_sign(debian: dagger.Container):
    ctr = debian.with_env_variable("URL", "postgres://u:p@h/d?a=b=c")
    assert await ctr.with_exec(["sh", "-c", "echo $URL"]).stdout() == "postgres://u:p@h/d?a=b=c\n"


@pytest.mark.drydock
async def test_what_is_not_supported_says_so_by_name(debian: dagger.Container, dag: dagger.Client):
    with pytest.raises(dagger.QueryError, match=r"not supported by the embedded engine: Container\.terminal"):
        await debian.terminal().sync()
    with pytest.raises(dagger.QueryError, match=r"not supported by the embedded engine: Query\.llm"):
        await dag.llm().model()
    with pytest.raises(dagger.QueryError, match="only linux/amd64"):
        await dag.container(platform=dagger.Platform("linux/arm64")).sync()
