"""The words of the command line, read into a chain of functions with their flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drydock.call import core, module
from drydock.call.errors import UsageError, did_you_mean
from drydock.call.model import Argument, Function, Kind, Type, cli_name

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP = {"-h", "--help"}
SHORT = {
    "-o": "output",
    "-j": "json",
    "-y": "auto-apply",
    "-d": "debug",
    "-s": "silent",
    "-q": "quiet",
    "-v": "verbose",
}
SWITCHES = {"json", "auto-apply", "debug", "silent", "quiet", "verbose"}
WITH_VALUE = {"output", "progress"}


@dataclass
class Options:
    """What belongs to the command line itself, and may stand anywhere among the flags."""

    output: str = ""
    json: bool = False
    auto_apply: bool = False
    debug: bool = False

    def set(self, name: str, text: str) -> None:
        """Take an option; those about how progress is shown mean nothing here, and are accepted."""
        match name:
            case "output":
                self.output = text
            case "json" | "auto-apply" | "debug":
                setattr(self, name.replace("-", "_"), read_switch(name, text))


@dataclass
class Step:
    """One function of the chain, with the raw values given for its arguments."""

    function: Function
    given: dict[str, list[str]] = field(default_factory=dict)

    def require(self) -> None:
        """Raise a `UsageError` where a required argument is missing."""
        missing = [a.flag for a in self.function.arguments if a.required and a.flag not in self.given]
        if missing:
            names = '", "'.join(missing)
            raise UsageError(f'required flag(s) "{names}" not set')


@dataclass
class Chain:
    """A command line that was understood."""

    steps: list[Step]
    options: Options
    wants_help: bool = False

    @property
    def path(self) -> list[str]:
        """The names of the functions after the constructor."""
        return [step.function.name for step in self.steps[1:]]

    @property
    def last(self) -> Function:
        """The function whose result is the result."""
        return self.steps[-1].function


def functions_of(known: Type) -> dict[str, Function]:
    """Return what can be called on a value of a type, by name."""
    match known.kind:
        case Kind.OBJECT:
            found = module.functions_of(known.cls)
        case Kind.CORE:
            found = core.functions_of(known.cls)
        case _:
            found = []
    return {function.name: function for function in sorted(found, key=lambda function: function.name)}


def read_chain(words: Sequence[str], constructor: Function) -> Chain:
    """Read the words after `call`; raises `UsageError` where they make no sense."""
    wants_help = bool(HELP & set(words))
    rest = [word for word in words if word not in HELP]
    options = Options()
    steps = [Step(constructor)]
    while True:
        step = steps[-1]
        rest = _read_flags(rest, step, options)
        if not wants_help:
            step.require()
        if not rest:
            return Chain(steps, options, wants_help)
        steps.append(Step(_next_function(rest[0], step.function)))
        rest = rest[1:]


def _next_function(word: str, previous: Function) -> Function:
    known = functions_of(previous.returns)
    name = cli_name(word)
    if name in known:
        return known[name]
    label = previous.returns.label or previous.returns.kind.value
    if not known:
        raise UsageError(f'"{word}": nothing can follow {previous.name}, which returns {label}')
    hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
    raise UsageError(f'unknown function "{word}" of {label}{hint}')


def _read_flags(words: list[str], step: Step, options: Options) -> list[str]:
    """Read flags up to the next function's name; returns what follows."""
    arguments = {argument.flag: argument for argument in step.function.arguments}
    while words and words[0].startswith("-") and words[0] != "-":
        word, words = words[0], words[1:]
        spelled, equals, text = word.partition("=")
        name = SHORT.get(spelled, cli_name(spelled[2:]) if spelled.startswith("--") else "")
        switch = arguments[name].type.kind is Kind.BOOLEAN if name in arguments else name in SWITCHES
        if name not in arguments and name not in SWITCHES | WITH_VALUE:
            shown = [f"--{flag}" for flag in [*arguments, *SWITCHES, *WITH_VALUE]]
            raise UsageError(f"unknown flag: {spelled}{did_you_mean(spelled, shown)}")
        if not equals:
            if switch:
                text = "true"
            elif words:
                text, words = words[0], words[1:]
            else:
                raise UsageError(f"flag needs a value: {spelled}{_expected(arguments.get(name))}")
        if name in arguments:
            step.given.setdefault(name, []).append(text)
        else:
            options.set(name, text)
    return words


def _expected(argument: Argument | None) -> str:
    return f" ({argument.type.label})" if argument and argument.type.label else ""


def read_switch(flag: str, text: str) -> bool:
    """Read the value of a switch."""
    match text.lower():
        case "true" | "t" | "1":
            return True
        case "false" | "f" | "0":
            return False
    raise UsageError(f'--{flag}: "{text}" is neither true nor false')
