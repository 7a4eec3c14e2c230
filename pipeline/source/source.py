"""The source as the caller gave it: a repository, and the folder of one service in it."""

import dataclasses
from pathlib import PurePosixPath

import dagger

from pipeline.core.errors import InvalidInputError
from pipeline.source.commit import Commit, read_commit
from pipeline.source.git import read_origin
from pipeline.source.project import Project, read_name, regular_file


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A service in a repository.

    Args:
        root: the root of the repository, with its .git.
        path: the service's folder in it, without `./` or a slash at the end.
        git_image: an image with Git.
        sha: the commit, where there is no `.git`.
    """

    root: dagger.Directory
    path: str
    git_image: str
    sha: str = ""

    @property
    def service(self) -> dagger.Directory:
        """The folder of the service."""
        return self.root.directory(self.path)

    async def check(self) -> None:
        """Check that the service's folder is a folder of the repository.

        Raises:
            InvalidInputError: if not, or if it is a symbolic link: Git would not see what is built.
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

    async def project(self, scripts: tuple[str, ...] = ()) -> Project:
        """Read the service, which must be an npm package with the given scripts.

        Raises:
            InvalidInputError: if it is not.
        """
        await self.check()
        return Project(name=await read_name(self.service, scripts), path=self.path, directory=self.service)

    async def project_if_any(self) -> Project:
        """Read the service; its name is empty where the folder has no package.json."""
        await self.check()
        if await self.service.exists("package.json"):
            return await self.project()
        return Project(name="", path=self.path, directory=self.service)

    async def commit(self) -> Commit:
        """Read the commit."""
        await self.check()
        return await read_commit(self.root, self.path, image=self.git_image, sha=self.sha)

    async def origin(self) -> str:
        """Return the repository's address, or an empty string."""
        return await read_origin(self.root, image=self.git_image)

    async def nearest_file(self, name: str) -> str:
        """Return the text of a file in the service's folder, else at the repository's root, else an empty string.

        Raises:
            InvalidInputError: if it is not a regular file.
        """
        await self.check()
        for folder in (self.service, self.root):
            if file := await regular_file(folder, name):
                return await file.contents()
        return ""
