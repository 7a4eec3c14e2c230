import pytest

from drydock.call.errors import UsageError
from drydock.call.flags import Chain, read_chain
from drydock.call.model import Function, cli_name


def words(chain: Chain) -> list[tuple[str, dict[str, list[str]]]]:
    return [(step.function.name, step.given) for step in chain.steps]


def test_flags_belong_to_the_function_before_them(constructor: Function):
    line = ["--depth", "3", "ship", "--name=x", "--cargo", "COAL", "report", "--loud"]
    assert words(read_chain(line, constructor)) == [
        ("", {"depth": ["3"]}),
        ("ship", {"name": ["x"], "cargo": ["COAL"]}),
        ("report", {"loud": ["true"]}),
    ]


def test_a_switch_takes_a_value_only_after_an_equals_sign(constructor: Function):
    chain = read_chain(["draught", "--salt=false"], constructor)
    assert chain.steps[-1].given == {"salt": ["false"]}
    with pytest.raises(UsageError, match='"false": nothing can follow draught'):
        read_chain(["draught", "--salt", "false"], constructor)


def test_flags_may_be_spelled_as_in_code(constructor: Function):
    assert read_chain(["berths", "--Count", "2"], constructor).steps[-1].given == {"count": ["2"]}
    assert cli_name("dockerConfig") == cli_name("docker_config") == "docker-config"


def test_options_may_stand_at_any_level(constructor: Function):
    chain = read_chain(["--json", "berths", "-o", "out.txt", "--progress", "plain", "-s"], constructor)
    assert chain.options.json
    assert chain.options.output == "out.txt"


def test_repeated_flags_add_up(constructor: Function):
    chain = read_chain(["ship", "--name", "x", "crew", "--names", "a,b", "--names", "c"], constructor)
    assert chain.steps[-1].given == {"names": ["a,b", "c"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["ship"], r'required flag\(s\) "name" not set'),
        (["ship", "--nmae", "x"], 'unknown flag: --nmae; did you mean "--name"'),
        (["shpi"], 'unknown function "shpi" of Harbour; did you mean "ship"'),
        (["zzz"], 'unknown function "zzz" of Harbour; known: berths, chart'),
        (["ship", "--name"], r"flag needs a value: --name \(string\)"),
        (["berths", "more"], '"more": nothing can follow berths, which returns strings'),
        (["--json=maybe", "ring"], '--json: "maybe" is neither true nor false'),
        (["-x", "ring"], "unknown flag: -x"),
    ],
)
def test_what_makes_no_sense_is_named_with_what_is_accepted(constructor: Function, line: list[str], message: str):
    with pytest.raises(UsageError, match=message) as caught:
        read_chain(line, constructor)
    assert "\n" not in str(caught.value)


def test_help_needs_no_required_flags(constructor: Function):
    chain = read_chain(["ship", "crew", "--help"], constructor)
    assert chain.wants_help
    assert chain.path == ["ship", "crew"]
