"""A stand-in for the engine's client: it keeps the chains of calls, and answers as a test says."""

from collections import deque
from collections.abc import Callable
from typing import Any, Self

import dagger


class FailedExec(dagger.ExecError):
    """The engine's error for a command that exited with a failure, without the query that the SDK's own carries."""

    def __new__(cls, _stderr: str) -> Self:
        error: Self = super().__new__(cls, [])
        return error

    def __init__(self, stderr: str) -> None:
        self.stderr, self.stdout, self.exit_code = stderr, "", 1

    def __str__(self) -> str:
        return self.stderr


class FakeChain:
    """What a chain of calls, such as `dag.container().from_("image")`, asks for."""

    def __init__(self, engine: "FakeEngine", steps: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...]) -> None:
        self._engine = engine
        self.steps = steps

    def __getattr__(self, name: str) -> "Callable[..., FakeChain]":
        return lambda *args, **named: FakeChain(self._engine, (*self.steps, (name, args, named)))

    def with_(self, change: Callable[[Any], "FakeChain"]) -> "FakeChain":
        return change(self)

    def calls(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of each call of a name."""
        return [args for step, args, _ in self.steps if step == name]

    def variable(self, name: str) -> str:
        """Return the value of an environment variable."""
        [value] = [value for key, value in self.calls("with_env_variable") if key == name]
        return str(value)

    @property
    def argv(self) -> list[str]:
        """The command that is executed."""
        [[argv]] = self.calls("with_exec")
        return list(argv)

    @property
    def stdin(self) -> str | None:
        """What the command reads from its standard input."""
        [named] = [named for step, _, named in self.steps if step == "with_exec"]
        stdin: str | None = named.get("stdin")
        return stdin

    async def stdout(self) -> str:
        return self._engine.answer(self)

    async def contents(self) -> str:
        return self._engine.answer(self)


class FakeEngine:
    """Stands in for `dag`. Each chain that is evaluated gets the next reply; a failure is raised."""

    def __init__(self, *replies: str | Exception) -> None:
        self.replies = deque(replies)
        self.evaluated: list[FakeChain] = []

    def container(self) -> FakeChain:
        return FakeChain(self, ())

    def set_secret(self, name: str, plaintext: str) -> tuple[str, str]:
        return name, plaintext

    def answer(self, chain: FakeChain) -> str:
        """Return the next reply."""
        self.evaluated.append(chain)
        reply = self.replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply
