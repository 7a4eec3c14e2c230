"""Configuration and documents of images."""

import json

import pytest

from drydock.errors import InvalidArgumentError
from drydock.image import Config, Port
from drydock.oci import CREATED, as_json, created_at

FULL = {
    "User": "1001:1001",
    "ExposedPorts": {"3000/tcp": {}},
    "Env": ["PATH=/bin", "URL=a=b"],
    "Entrypoint": ["node"],
    "Cmd": ["main.js"],
    "WorkingDir": "/app",
    "Labels": {"k": "v"},
    "Healthcheck": {"Test": ["CMD", "true"]},
    "Volumes": {"/data": {}},
    "StopSignal": "SIGQUIT",
}


def test_a_configuration_survives_being_read_and_written():
    assert Config.from_json(FULL).to_json() == FULL


def test_a_variable_keeps_its_place_when_it_is_set_again():
    config = Config().with_env("A", "1").with_env("B", "2").with_env("A", "3")
    assert config.env == (("A", "3"), ("B", "2"))


def test_a_port_is_exposed_once():
    config = Config().with_port(Port(1)).with_port(Port(1, description="again")).with_port(Port(1, "UDP"))
    assert [(p.protocol, p.description) for p in config.ports] == [("TCP", "again"), ("UDP", None)]


def test_an_image_was_never_created_unless_its_label_says_when():
    assert created_at(Config()) == ("1970-01-01T00:00:00Z", None)
    assert created_at(Config().with_label(CREATED, "2020-01-02T03:04:05Z")) == ("2020-01-02T03:04:05Z", 1577934245)


@pytest.mark.parametrize("text", ["yesterday", "2020-01-02T03:04:05"])
def test_a_label_that_is_no_time_is_named(text: str):
    with pytest.raises(InvalidArgumentError, match=text):
        created_at(Config().with_label(CREATED, text))


def test_documents_have_one_form():
    assert as_json({"b": 1, "a": "ä"}) == '{"a":"ä","b":1}'.encode()
    assert json.loads(as_json({"b": [1]})) == {"b": [1]}
