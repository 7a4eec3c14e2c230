"""What is run, and which ends are allowed."""

import pytest

from drydock.api.container_config import parse_duration
from drydock.api.container_exec import allowed, command
from drydock.container import Container
from drydock.errors import InvalidArgumentError, SandboxError
from drydock.image import Config
from drydock.mounts import overlay_options
from drydock.network import hosts_file, join_commands, slirp_argv
from drydock.sandbox import why_not_started

CTR = Container(Config(env=(("A", "1"),), entrypoint=("entry",), cmd=("default",)))


@pytest.mark.parametrize(
    ("args", "use_entrypoint", "expected"),
    [
        (["x"], False, ("x",)),
        (["x"], True, ("entry", "x")),
        ([], True, ("entry", "default")),
        ([], False, ("default",)),
    ],
)
def test_a_command_is_args_or_defaults_after_the_entrypoint(args: list[str], use_entrypoint: bool, expected: object):  # noqa: FBT001
    assert command(CTR, args, use_entrypoint=use_entrypoint, expand=False) == expected


def test_no_command_at_all_is_an_error():
    with pytest.raises(InvalidArgumentError, match="no command"):
        command(Container(), [], use_entrypoint=True, expand=False)


def test_variables_are_expanded_in_both_notations_and_unset_ones_are_empty():
    assert CTR.expand("$A-${A}-$NONE-$") == "1-1--$"


@pytest.mark.parametrize(
    ("expect", "codes"),
    [("SUCCESS", {0}), ("FAILURE", {1, 127, 192, 255}), ("ANY", {0, 1, 127, 192, 255})],
)
def test_expectations_allow_the_exit_codes_that_the_api_names(expect: str, codes: set[int]):
    assert {code for code in (0, 1, 127, 128, 137, 191, 192, 255) if allowed(expect, code)} == codes


def test_a_command_that_did_not_start_says_why():
    assert "nope" in why_not_started("not-found nope", ["nope"])
    with pytest.raises(SandboxError, match="mount"):
        why_not_started("mount overlay on /x: No such file or directory", ["true"])


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5)])
def test_durations_are_those_of_go(text: str, seconds: float):
    assert parse_duration(text) == seconds * 1e9


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-1s"])
def test_what_is_no_duration_is_named(text: str):
    with pytest.raises(InvalidArgumentError, match="is not a duration"):
        parse_duration(text)


def test_overlays_are_read_only_without_an_upper_directory():
    assert overlay_options(["b", "a"]).startswith("lowerdir=b:a,redirect_dir=off")
    assert "upperdir=u,workdir=w" in overlay_options(["a"], "u", "w")


def test_aliases_are_names_in_the_hosts_file():
    assert "10.0.0.7 db\n" in hosts_file({"db": "10.0.0.7"})


def test_the_way_out_cannot_reach_the_hosts_loopback_and_dies_with_the_engine():
    argv = slirp_argv("/ns", 3)
    assert "--disable-host-loopback" in argv
    assert argv[:3] == ["setpriv", "--pdeathsig", "KILL"]


def test_a_namespace_is_joined_by_a_pair_of_interfaces():
    assert "link add eth0 mtu 65520 type veth peer name port7 mtu 65520 netns /switch" in join_commands(
        "/switch", "port7", "10.0.0.7"
    )
