from pathlib import Path
from typing import Any

import dagger
import pytest

from drydock.call.errors import UsageError
from drydock.call.model import Argument, type_of
from drydock.call.values import read, secret_uri


def given(annotation: Any, *texts: str) -> Any:
    return read(Argument(key="x", flag="x", type=type_of(annotation)), list(texts))


@pytest.mark.parametrize(
    ("annotation", "texts", "value"),
    [
        (str, ("a", "b"), "b"),
        (int, ("0x10",), 16),
        (float, ("1.5",), 1.5),
        (bool, ("T",), True),
        (list[str], ("a,b", '"c,d"'), ["a", "b", "c,d"]),
        (list[int] | None, ("1,2",), [1, 2]),
        (dagger.Platform, ("linux/amd64",), "linux/amd64"),
        (dagger.NetworkProtocol, ("tcp",), dagger.NetworkProtocol.TCP),
        (dagger.CacheSharingMode, ("Private",), dagger.CacheSharingMode.PRIVATE),
    ],
)
def test_plain_values_are_read_by_type(annotation: Any, texts: tuple[str, ...], value: Any):
    assert given(annotation, *texts) == value


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        (int, "many", '--x: "many" is no whole number'),
        (float, "much", '--x: "much" is no number'),
        (bool, "perhaps", '--x: "perhaps" is neither true nor false'),
        (dagger.NetworkProtocol, "icmp", '--x: "icmp" should be one of TCP,UDP'),
        (dagger.Directory, "/no/such/place", "--x: /no/such/place: no such directory"),
        (dagger.File, "/no/such/file", "--x: /no/such/file: no such file"),
        (dagger.Service, "localhost:80", "should be tcp://host:port"),
        (dagger.Secret, "env:NO_SUCH_VARIABLE", "environment variable NO_SUCH_VARIABLE is not set"),
        (dagger.Secret, "hunter2-hunter2", "what was given names no secret and is not shown"),
        (dagger.Secret, "hunter2:hunter2", "what was given names no secret and is not shown"),
        (dagger.Secret, "file:/no/such/file", "/no/such/file: no such file; a secret is env:NAME"),
        (dagger.PortForward, "80", "should be frontend:backend"),
        (dagger.Socket | int, "x", "cannot be given on the command line"),
    ],
)
def test_a_wrong_value_names_the_flag_and_what_is_accepted(annotation: Any, text: str, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        given(annotation, text)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_written_in_any_of_the_usual_forms():
    assert secret_uri("TOKEN") == secret_uri("env:TOKEN") == secret_uri("env://TOKEN") == "env://TOKEN"
    assert secret_uri("file:/run/token") == "file:///run/token"
    assert secret_uri("cmd:pass show token") == "cmd://pass show token"


def test_a_local_directory_may_be_written_as_a_url(tmp_path: Path):
    assert given(dagger.Directory, f"file://{tmp_path}") == f"file://{tmp_path}"
