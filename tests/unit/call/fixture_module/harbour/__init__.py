"""A harbour to try the command line on.

It has one of everything.
"""

import enum
from typing import Annotated, Self

import anyio
import dagger
from dagger import DefaultPath, Doc, Ignore, Name, check, dag, enum_type, field, function, object_type


@enum_type
class Cargo(enum.Enum):
    """What a ship carries."""

    GRAIN = "grain"
    """Wheat and rye."""

    COAL = "coal"
    """Black."""


@object_type
class Crew:
    """The people of a ship."""

    names: list[str] = field(default=list)

    @function
    def size(self) -> int:
        """Count them."""
        return len(self.names)


@object_type
class Ship:
    """A ship at its berth."""

    name: Annotated[str, Doc("As painted on the bow.")] = field()
    cargo: Cargo = field(default=Cargo.GRAIN)
    manifest: dagger.Directory | None = field(default=None)

    @function
    def crew(self, names: Annotated[list[str], Doc("Who signs on.")]) -> Crew:
        """Sign on a crew."""
        return Crew(names=names)

    @function
    async def report(self, *, loud: bool = False) -> str:
        """Say where the ship is."""
        print("asking the bridge")  # noqa: T201
        await anyio.lowlevel.checkpoint()
        text = f"{self.name} carries {self.cargo.value}"
        return text.upper() if loud else text

    @function
    def with_cargo(self, cargo: Annotated[Cargo, Doc("What to load.")]) -> Self:
        """Load another cargo."""
        return Ship(name=self.name, cargo=cargo)


@object_type
class Harbour:
    """Where ships come from."""

    depth: Annotated[float, Doc("Depth of the basin, in metres.")] = field(default=4.5)
    chart: Annotated[dagger.Directory, DefaultPath("/"), Ignore(["*.log"]), Doc("Where the rocks are.")] = field()

    @function
    def ship(
        self,
        name: Annotated[str, Doc("As painted on the bow.")],
        cargo: Annotated[Cargo, Doc("What it carries.")] = Cargo.GRAIN,
    ) -> Ship:
        """Build a ship.

        It takes a while: keels first, then the rest of a hull that has to be both long enough for the cargo and
        short enough for the lock.
        """
        return Ship(name=name, cargo=cargo)

    @function
    def berths(self, count: int = 3, from_: Annotated[int, Name("from")] = 1) -> list[str]:
        """List the berths."""
        return [f"berth {number}" for number in range(from_, from_ + count)]

    @function
    async def password_length(self, password: Annotated[dagger.Secret, Doc("Of the gate: env:GATE")]) -> int:
        """Count the characters of a secret."""
        return len(await password.plaintext())

    @function
    def hull(self, base: dagger.Container | None = None) -> dagger.Container:
        """Get the hull as a container."""
        return base or dag.container()

    @function
    async def draught(self, weights: list[float] | None = None, *, salt: bool = True) -> float:
        """Weigh it."""
        return sum(weights or []) + (0.5 if salt else 0)

    @function
    async def read(self, document: dagger.File) -> str:
        """Read a document."""
        return await document.contents()

    @function
    def sink(self) -> str:
        """Fail."""
        raise ValueError("the ship has sunk")

    @function
    def ring(self) -> None:
        """Ring the bell, and return nothing."""

    @function
    @check
    async def lights(self) -> str:
        """See that the lights are on."""
        return "on"

    @function
    @check
    async def tides(self) -> None:
        """See that there is water."""
        raise RuntimeError("low tide")

    @function
    async def forgotten(self) -> str:
        """Return a coroutine by mistake."""
        return self.lights()  # type: ignore[return-value]
