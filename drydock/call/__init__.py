"""`call`: the functions of a Dagger module as a command line, like `dagger call`, without a container per call.

The module of the current folder is imported into this process, and talks to a session of the embedded engine (or to
whichever one DAGGER_SESSION_PORT names). Its functions, arguments and documentation become commands, flags and help.

    flags.py    words → a chain of functions with raw values       values.py   raw values → SDK objects
    model.py    what a function, an argument and a type are         results.py  the final value → stdout or a file
    module.py   the module's functions      core.py  the SDK's      help.py     `--help`      checks.py  `check`
"""

from drydock.call.entry import check, functions, main

__all__ = ["check", "functions", "main"]
