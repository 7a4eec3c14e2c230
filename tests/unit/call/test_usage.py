import pytest

from drydock.call import usage
from drydock.call.flags import read_chain
from drydock.call.module import Module


def text(module: Module, *words: str) -> str:
    return usage.of_chain(read_chain([*words, "--help"], module.constructor), "call", module.doc, bold=False)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_module_is_introduced_by_its_own_documentation(harbour: Module):
    shown = text(harbour)
    assert shown.startswith("A harbour to try the command line on.\n\nIt has one of everything.\n\nUSAGE\n")
    assert "  call [options] [arguments] <function>" in shown
    assert '--chart Directory   Where the rocks are. (default path "/")' in shown
    assert "--depth float       Depth of the basin, in metres. (default 4.5)" in shown
    assert "--output string" in shown


def test_a_function_shows_what_it_takes_and_what_can_follow(harbour: Module):
    shown = text(harbour, "ship")
    assert "  call ship [arguments] <function>" in shown
    assert "--name string        As painted on the bow. [required]" in shown
    assert "--cargo GRAIN,COAL   What it carries. (default GRAIN)" in shown
    assert "  report        Say where the ship is." in shown


def test_text_is_wrapped_to_the_terminal(harbour: Module):
    for words in ((), ("ship",), ("hull",), ("hull", "with-exec")):
        body = text(harbour, *words).partition("\nUse ")[0]
        assert max(map(len, body.splitlines())) <= 80


def test_a_function_that_returns_plain_values_lists_no_functions(harbour: Module):
    assert "FUNCTIONS" not in text(harbour, "berths")
