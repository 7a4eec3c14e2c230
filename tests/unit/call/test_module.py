from pathlib import Path

import pytest

from drydock.call import module
from drydock.call.errors import ModuleLoadError
from drydock.call.flags import functions_of
from drydock.call.model import Argument, Function, Kind
from drydock.call.module import Module


def argument(function: Function, flag: str) -> Argument:
    return next(argument for argument in function.arguments if argument.flag == flag)


def test_fields_and_functions_become_commands(constructor: Function):
    known = functions_of(constructor.returns)
    assert {"ship", "password-length", "depth", "chart"} <= set(known)
    assert known["depth"].doc == "Depth of the basin, in metres."
    assert known["lights"].is_check
    assert not known["ring"].is_check


def test_arguments_carry_type_doc_default_and_whether_they_are_required(constructor: Function):
    ship = functions_of(constructor.returns)["ship"]
    name, cargo = argument(ship, "name"), argument(ship, "cargo")
    assert (name.required, name.type.label, name.doc) == (True, "string", "As painted on the bow.")
    assert (cargo.required, cargo.type.label, cargo.default) == (False, "GRAIN,COAL", "GRAIN")


def test_default_path_and_ignore_are_known(constructor: Function):
    chart = argument(constructor, "chart")
    assert (chart.default_path, chart.ignore, chart.required) == ("/", ("*.log",), False)


def test_an_alternative_name_is_the_flag_and_the_python_name_the_keyword(constructor: Function):
    first = argument(functions_of(constructor.returns)["berths"], "from")
    assert first.key == "from_"


def test_a_function_that_returns_self_returns_its_own_type(constructor: Function):
    ship = functions_of(constructor.returns)["ship"].returns
    assert functions_of(ship)["with-cargo"].returns == ship


def test_functions_of_core_types_come_from_the_sdk(constructor: Function):
    container = functions_of(constructor.returns)["hull"].returns
    assert container.kind is Kind.CORE
    known = functions_of(container)
    assert known["as-service"].returns.label == "Service"
    assert argument(known["with-exec"], "args").type.label == "strings"
    assert argument(known["with-exec"], "args").required
    assert known["with-exec"].doc
    assert argument(known["with-exec"], "args").doc
    assert "with" not in known
    assert "id" not in known


def test_default_paths_start_at_the_repository_or_at_the_module(harbour: Module):
    here = Module("m", harbour.main, Path("/repo/ci"), Path("/repo"))
    assert here.path("/app") == Path("/repo/app")
    assert here.path("./data") == Path("/repo/ci/data")


def test_a_folder_without_a_module_is_named(tmp_path: Path):
    with pytest.raises(ModuleLoadError, match=r"pyproject\.toml: not found"):
        module.load(tmp_path)


def test_a_project_without_a_main_object_is_told_how_to_name_it(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    with pytest.raises(ModuleLoadError, match=r'add \[project\.entry-points\."dagger\.mod"\]'):
        module.load(tmp_path)


def test_a_module_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.path", ["/"])
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[project.entry-points."dagger.mod"]\nmain_object = "nowhere_to_be_found:Main"\n'
    )
    with pytest.raises(ModuleLoadError, match="nowhere_to_be_found"):
        module.load(tmp_path)
