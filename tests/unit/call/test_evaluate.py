import io

import pytest

from drydock.call import checks, evaluate, failures
from drydock.call.errors import UsageError
from drydock.call.flags import read_chain
from drydock.call.module import Module
from drydock.call.results import as_json, as_text, present


async def result(module: Module, line: str) -> str:
    chain = read_chain(line.split(), module.constructor)
    evaluate.check_values(chain)
    out = io.StringIO()
    await present(await evaluate.run(chain, module), chain.options, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("ship --name x report", "x carries grain"),
        ("ship --name x with-cargo --cargo coal report --loud", "X CARRIES COAL"),
        ("ship --name x crew --names a,b --names c size", "3"),
        ("ship --name x crew --names a,b names", "a\nb\n"),
        ("berths --count 2 --from 5", "berth 5\nberth 6\n"),
        ("draught --weights 1.5,2 --salt=false", "3.5"),
        ("depth", "4.5"),
        ("--depth 7 depth", "7"),
        ("ship --name x cargo", "GRAIN"),
        ("ship --name x", "Ship\n"),
        ("ring", ""),
        ("ring --json", "null\n"),
    ],
)
async def test_a_chain_runs_in_this_process_and_prints_its_result(harbour: Module, line: str, printed: str):
    assert await result(harbour, line) == printed


async def test_a_function_that_raises_keeps_its_own_error(harbour: Module):
    with pytest.raises(ValueError, match="the ship has sunk") as caught:
        await result(harbour, "sink")
    assert failures.describe(caught.value) == "the ship has sunk"
    assert failures.exit_code(caught.value) == 1


async def test_a_forgotten_await_is_an_error(harbour: Module):
    with pytest.raises(TypeError, match="forgotten: returned a coroutine that was never awaited"):
        await result(harbour, "forgotten")


async def test_nothing_can_be_called_on_a_missing_value(harbour: Module):
    with pytest.raises(UsageError, match="manifest returned nothing"):
        await result(harbour, "ship --name x manifest entries")


def test_a_wrong_value_late_in_the_chain_is_told_before_any_work(harbour: Module):
    chain = read_chain(["ship", "--name", "x", "with-cargo", "--cargo", "fish"], harbour.constructor)
    with pytest.raises(UsageError, match="--cargo"):
        evaluate.check_values(chain)


async def test_a_result_can_be_saved(harbour: Module, tmp_path, capsys: pytest.CaptureFixture[str]):  # noqa: ANN001
    target = tmp_path / "new" / "berths.txt"
    assert await result(harbour, f"berths --count 1 -o {target}") == "berth 1\n"
    assert target.read_text() == "berth 1\n"
    assert f'Saved output to "{target}"' in capsys.readouterr().err


def test_values_are_printed_as_dagger_call_does():
    assert as_text([True, 2.0, "x"]) == "true\n2\nx\n"
    assert as_json({"ü": [1]}) == '{\n    "ü": [\n        1\n    ]\n}\n'


def test_all_errors_of_a_group_are_shown_once():
    group = ExceptionGroup("", [ValueError("one"), ExceptionGroup("", [ValueError("two"), ValueError("one")])])
    assert failures.describe(group) == "one\ntwo"


async def test_checks_all_run_and_the_failed_ones_are_counted(harbour: Module):
    out = io.StringIO()
    assert await checks.run(harbour, checks.select(harbour, []), out) == 1
    assert "✔ lights" in out.getvalue()
    assert "✘ tides" in out.getvalue()
    assert out.getvalue().endswith("low tide\n")


def test_checks_are_selected_by_pattern(harbour: Module):
    assert [check.name for check in checks.select(harbour, ["li*"])] == ["lights"]
    with pytest.raises(UsageError, match='no check "lihgts"; did you mean "lights"'):
        checks.select(harbour, ["lihgts"])
