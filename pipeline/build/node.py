"""Builds Node services: dependencies, dev container, build, runtime image."""

import dataclasses
from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.images import Images
from pipeline.source.commit import NOT_SOURCE_ANYWHERE, NOT_SOURCE_AT_ROOT, Commit

WORKDIR = "/app"
NPMRC = "/root/.npmrc"
PORT = 3000
USER = "1001:1001"
PACKAGE_FILES = ("package.json", "package-lock.json", ".npmrc")

# What the official images carry for building; a running service needs none of it.
PACKAGE_MANAGERS = (
    "usr/local/lib/node_modules",
    "usr/local/bin/npm",
    "usr/local/bin/npx",
    "usr/local/bin/corepack",
    "usr/local/bin/yarn",
    "usr/local/bin/yarnpkg",
    "usr/local/include",
    "usr/local/share/doc",
    "usr/local/share/man",
    "opt/yarn-*",
    "root/.npm",
    "tmp/*",
)

# The runtime image has Node and no other client: neither curl nor wget nor a shell is needed.
HEALTHCHECK = (
    "node",
    "-e",
    (
        f"fetch(`http://127.0.0.1:${{process.env.PORT ?? {PORT}}}/healthz`)"
        ".then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class NodeBuilder:
    """Builds a Node service with npm; every method is lazy.

    Args:
        images: the images to run in.
        npmrc: npm's user configuration, for private registries.
        commit: the commit that is built: its hash and time are build variables, and its time is that of every file.
    """

    images: Images
    npmrc: dagger.Secret | None = None
    commit: Commit | None = None

    def base(self, platform: str = "") -> dagger.Container:
        """Return Node, as its image comes."""
        chosen = dagger.Platform(platform) if platform else None
        return dag.container(platform=chosen).from_(self.images.node)

    def npm(self, platform: str = "") -> dagger.Container:
        """Return Node with npm's cache and the certificates of the machine."""
        return (
            self.base(platform)
            # npm and fetch read the system's certificates, to which an engine adds a company's own.
            .with_env_variable("NODE_USE_SYSTEM_CA", "1")
            .with_env_variable("NPM_CONFIG_UPDATE_NOTIFIER", "false")
            .with_env_variable("CI", "true")
            .with_mounted_cache("/root/.npm", dag.cache_volume("slipway-npm"))
            .with_workdir(WORKDIR)
        )

    def dependencies(
        self, source: dagger.Directory, platform: str = "", *, production: bool = False
    ) -> dagger.Container:
        """Install what the lock file says; the layer depends on the package files alone."""
        omit = ["--omit=dev", "--omit=optional"] if production else []
        npm = self.npm(platform).with_directory(WORKDIR, source.filter(include=list(PACKAGE_FILES)))
        if self.npmrc:
            npm = npm.with_mounted_secret(NPMRC, self.npmrc)
        return (
            npm.with_exec(["npm", "ci", "--no-audit", "--no-fund", *omit])
            .without_mount(NPMRC)
            # npm makes none where there is nothing to install.
            .with_directory(f"{WORKDIR}/node_modules", dag.directory())
        )

    def dev_container(self, source: dagger.Directory, platform: str = "") -> dagger.Container:
        """Return all dependencies and the source: where lint, tests and the build run."""
        excluded = [*(f"**/{name}" for name in NOT_SOURCE_ANYWHERE), *NOT_SOURCE_AT_ROOT]
        return self.dependencies(source, platform).with_directory(WORKDIR, source.filter(exclude=excluded))

    def built(self, source: dagger.Directory, platform: str = "") -> dagger.Directory:
        """Run the service's own build, which gets commit and time; return its `dist`."""
        commit = self.commit or Commit(sha="")
        return (
            self.dev_container(source, platform)
            .with_env_variable("COMMIT", commit.sha)
            .with_env_variable("BUILT", commit.created or "unknown")
            .with_env_variable("SOURCE_DATE_EPOCH", str(commit.epoch))
            .with_exec(["npm", "run", "build"])
            .directory(f"{WORKDIR}/dist")
        )

    def build(
        self,
        source: Annotated[dagger.Directory, Doc("The folder of the service.")],
        platform: Annotated[str, Doc("Such as linux/arm64; empty for the engine's own.")] = "",
    ) -> dagger.Container:
        """Return Node without its package managers, production dependencies, and what was built.

        Two layers: the base, with the times it came with, is pushed and pulled once; the service has the commit's
        time on every file. So two builds of one commit hold the same layers.
        """
        base = self.base(platform)
        clean = dag.directory().with_directory("/", base.rootfs(), exclude=list(PACKAGE_MANAGERS))
        modules = self.dependencies(source, platform, production=True).directory(f"{WORKDIR}/node_modules")
        service = (
            dag.directory()
            # .bin is for npm; and the time of a symbolic link cannot be set.
            .with_directory(f"{WORKDIR}/node_modules", modules, exclude=["**/.bin"])
            .with_directory(f"{WORKDIR}/dist", self.built(source, platform))
            .with_file(f"{WORKDIR}/package.json", source.file("package.json"))
            .with_timestamps(self.commit.epoch if self.commit else 0)
        )
        return (
            base.with_rootfs(clean)
            .with_directory("/", service)
            .with_workdir(WORKDIR)
            .with_env_variable("NODE_ENV", "production")
            .with_user(USER)
            .with_exposed_port(PORT)
            .without_default_args()
            .with_entrypoint(["node", "dist/main.js"])
            .with_docker_healthcheck(
                list(HEALTHCHECK),
                interval="10s",
                timeout="3s",
                start_period="5s",
                # An engine waits for the first success before the service counts as started.
                start_interval="500ms",
                retries=3,
            )
        )
