import sys
from pathlib import Path

import pytest

from drydock.bases import tools
from drydock.errors import HostToolError, ImageError


def test_what_runs_isolated_dies_with_the_engine_and_has_mounts_of_its_own():
    argv = tools.isolated(["true"])
    assert argv[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert {"--mount", "--pid", "--kill-child"} <= set(argv)
    assert argv[-1] == "true"


def test_a_command_inside_a_tree_is_passed_as_words():
    assert tools.inside(Path("/tree"), ["echo", "a b"])[-4:] == ["chroot", "/tree", "echo", "a b"]


def test_a_failing_tool_is_quoted_with_its_last_lines():
    script = "import sys; [print('line', n, file=sys.stderr) for n in range(50)]; sys.exit(3)"
    with pytest.raises(ImageError) as caught:
        tools.run([sys.executable, "-c", script], doing="making debian")
    message = str(caught.value)
    assert message.startswith("making debian failed (exit code 3):")
    assert "line 49" in message
    assert "line 34" not in message


def test_a_missing_tool_says_which_package_has_it():
    with pytest.raises(HostToolError, match="apt-get install mmdebstrap"):
        tools.require("no-such-mmdebstrap", "mmdebstrap")
