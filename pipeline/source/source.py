"""The source of a service: a folder of a repository, and what can be read of it."""

import dataclasses
from pathlib import PurePosixPath

import dagger

from pipeline.build.node import NodeBuilder
from pipeline.core.errors import InvalidInputError
from pipeline.images import Images
from pipeline.signing.policy import read_public_key
from pipeline.source.commit import Commit, read_commit, read_origin
from pipeline.source.delivery import delivery_of
from pipeline.source.project import read_manifest


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where a service lies; nothing is read before it is asked for.

    Args:
        root: of the repository, with its `.git`.
        path: of the service, relative to it.
        images: that it is read, verified and built in.
        npmrc: npm's user configuration, for private registries.
        sha: the caller's word for the commit, where there is no `.git`.
    """

    root: dagger.Directory
    path: str
    images: Images
    npmrc: dagger.Secret | None = None
    sha: str = ""

    @property
    def service(self) -> dagger.Directory:
        """The folder of the service."""
        return self.root.directory(self.path)

    @property
    def delivery(self) -> dagger.Directory:
        """What it brings for its delivery: manifests, smoke test, ignores."""
        return delivery_of(self.service)

    @property
    def toolchain(self) -> NodeBuilder:
        """The containers of the service, for the engine's own platform."""
        return NodeBuilder(self.service, self.images, self.npmrc)

    async def check(self) -> None:
        """Refuse a folder that is not in the repository.

        Raises:
            InvalidInputError: if so, or if it is a symbolic link: through one, Git would not see what is built.
        """
        folders = [PurePosixPath(self.path), *PurePosixPath(self.path).parents]
        if folders[-1].is_absolute() or ".." in folders[0].parts:
            raise InvalidInputError(
                f"--path {self.path!r} is not a folder below the source", hint="such as services/api"
            )
        for folder in folders[:-1]:
            if not await self.root.exists(
                str(folder), expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True
            ):
                raise InvalidInputError(
                    f"the source has no folder {str(folder)!r}, or it is a symbolic link",
                    hint="give the folder with package.json as --path",
                )

    async def name(self) -> str:
        """Return the service's name, or an empty string where there is no service in the folder."""
        await self.check()
        if not await self.service.exists("package.json"):
            return ""
        return await read_manifest(self.service, ())

    async def commit(self) -> Commit:
        """Read the commit."""
        await self.check()
        return await read_commit(self.root, self.path, image=self.images.git, sha=self.sha)

    async def origin(self) -> str:
        """Return the repository's address, or an empty string."""
        return await read_origin(self.root, image=self.images.git)

    async def public_key(self) -> str:
        """Return the public key that the service or the repository trusts, or an empty string."""
        await self.check()
        return await read_public_key(self.root, self.path)
