import os
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

import pytest

from drydock.call import entry


def fails_with(error: BaseException) -> Callable[[Sequence[str], TextIO], int]:
    def command(_words: Sequence[str], _out: TextIO) -> int:
        raise error

    return command


def test_only_the_result_goes_to_stdout(capfd: pytest.CaptureFixture[str]):
    def command(_words: Sequence[str], out: TextIO) -> int:
        os.write(1, b"progress of a process\n")
        out.write("result\n")
        return 0

    assert entry._guarded([], command) == 0  # noqa: SLF001
    assert capfd.readouterr() == ("result\n", "progress of a process\n")


def test_an_error_is_one_line_without_a_traceback(capfd: pytest.CaptureFixture[str]):
    assert entry._guarded([], fails_with(ValueError("it broke"))) == 1  # noqa: SLF001
    assert capfd.readouterr() == ("", "Error: it broke\n")


def test_debug_shows_the_traceback(capfd: pytest.CaptureFixture[str]):
    entry._guarded(["--debug"], fails_with(ValueError("it broke")))  # noqa: SLF001
    assert "Traceback" in capfd.readouterr().err


def test_ctrl_c_exits_130(capfd: pytest.CaptureFixture[str]):
    assert entry._guarded([], fails_with(KeyboardInterrupt())) == 130  # noqa: SLF001
    assert capfd.readouterr().err == "Canceled.\n"


def test_the_command_line_is_ready_before_the_sdk_is_imported():
    code = "import sys, drydock.call; sys.exit('dagger' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
