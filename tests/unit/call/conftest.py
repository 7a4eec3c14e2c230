import sys
from pathlib import Path

import pytest

from drydock.call import module
from drydock.call.model import Function
from drydock.call.module import Module

FIXTURE = Path(__file__).parent / "fixture_module"


@pytest.fixture(scope="session")
def harbour() -> Module:
    before = sys.path.copy()
    loaded = module.load(FIXTURE)
    sys.path[:] = before
    return loaded


@pytest.fixture
def constructor(harbour: Module) -> Function:
    return harbour.constructor
