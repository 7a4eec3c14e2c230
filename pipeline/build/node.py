"""The containers that a Node service is verified and built in: dependencies, builder, runner."""

import dataclasses

import dagger
from dagger import dag

from pipeline.images import Images
from pipeline.source.commit import NOT_SOURCE_ANYWHERE, NOT_SOURCE_AT_ROOT, Commit

WORKDIR = "/app"
NPMRC = "/root/.npmrc"
PORT = 3000
USER = "1001:1001"
MANIFESTS = ("package.json", "package-lock.json", ".npmrc")

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

# The runner has Node and nothing else that could ask: no curl, no wget, no shell is needed.
HEALTHCHECK = (
    "node",
    "-e",
    (
        f"fetch(`http://127.0.0.1:${{process.env.PORT ?? {PORT}}}/healthz`)"
        ".then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"
    ),
)


def labels(commit: Commit, name: str) -> dict[str, str]:
    """Return the OCI labels of an image; what is unknown is left out."""
    known = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.revision": commit.sha,
        "org.opencontainers.image.source": commit.url,
        "org.opencontainers.image.created": commit.created,
    }
    return {key: value for key, value in known.items() if value}


@dataclasses.dataclass(frozen=True, slots=True)
class NodeBuilder:
    """Builds containers for one source; every method is lazy.

    Args:
        source: the folder with `package.json`.
        images: the images to run in.
        npmrc: npm's user configuration, for private registries.
        platform: such as `linux/arm64`; empty for the engine's own.
    """

    source: dagger.Directory
    images: Images
    npmrc: dagger.Secret | None = None
    platform: str = ""

    @property
    def files(self) -> dagger.Directory:
        """The source without what is installed, built or private."""
        return self.source.filter(exclude=[*(f"**/{name}" for name in NOT_SOURCE_ANYWHERE), *NOT_SOURCE_AT_ROOT])

    def base(self) -> dagger.Container:
        """Node, as it comes."""
        platform = dagger.Platform(self.platform) if self.platform else None
        return dag.container(platform=platform).from_(self.images.node)

    def npm(self) -> dagger.Container:
        """Node, made ready for npm: cache, the company's CA."""
        return (
            self.base()
            # npm and fetch read the system's certificates, to which an engine adds a company's own.
            .with_env_variable("NODE_USE_SYSTEM_CA", "1")
            .with_env_variable("NPM_CONFIG_UPDATE_NOTIFIER", "false")
            .with_env_variable("CI", "true")
            .with_mounted_cache("/root/.npm", dag.cache_volume("slipway-npm"))
            .with_workdir(WORKDIR)
        )

    def dependencies(self, *, production: bool = False) -> dagger.Container:
        """Install what the lock file says; the layer depends on the manifests alone."""
        omit = ["--omit=dev", "--omit=optional"] if production else []
        npm = self.npm().with_directory(WORKDIR, self.source.filter(include=list(MANIFESTS)))
        if self.npmrc:
            npm = npm.with_mounted_secret(NPMRC, self.npmrc)
        return (
            npm.with_exec(["npm", "ci", "--no-audit", "--no-fund", *omit])
            .without_mount(NPMRC)
            # npm makes none where there is nothing to install.
            .with_directory(f"{WORKDIR}/node_modules", dag.directory())
        )

    def dev_container(self) -> dagger.Container:
        """All dependencies and the source: where lint, tests and the build run."""
        return self.dependencies().with_directory(WORKDIR, self.files)

    def builder(self, commit: Commit) -> dagger.Container:
        """Run the service's own build, which bakes in commit and time."""
        return (
            self.dev_container()
            .with_env_variable("COMMIT", commit.sha)
            .with_env_variable("BUILT", commit.created or "unknown")
            .with_env_variable("SOURCE_DATE_EPOCH", str(commit.epoch))
            .with_exec(["npm", "run", "build"])
        )

    def runner(self, commit: Commit, name: str) -> dagger.Container:
        """Node without its package managers, production dependencies, and what was built.

        Two layers: the base, with the times it came with, is pushed and pulled once; the service has the commit's
        time on every file. So two builds of one commit hold the same layers.
        """
        base = self.base()
        clean = dag.directory().with_directory("/", base.rootfs(), exclude=list(PACKAGE_MANAGERS))
        modules = self.dependencies(production=True).directory(f"{WORKDIR}/node_modules")
        service = (
            dag.directory()
            # .bin is for npm; and the time of a symbolic link cannot be set.
            .with_directory(f"{WORKDIR}/node_modules", modules, exclude=["**/.bin"])
            .with_directory(f"{WORKDIR}/dist", self.builder(commit).directory(f"{WORKDIR}/dist"))
            .with_file(f"{WORKDIR}/package.json", self.source.file("package.json"))
            .with_timestamps(commit.epoch)
        )
        container = (
            base.with_rootfs(clean)
            .with_directory("/", service)
            .with_workdir(WORKDIR)
            .with_env_variable("NODE_ENV", "production")
            .with_user(USER)
            .with_exposed_port(PORT)
            .without_default_args()
            .with_entrypoint(["node", "dist/main.js"])
            .with_docker_healthcheck(list(HEALTHCHECK), interval="10s", timeout="3s", start_period="5s", retries=3)
        )
        for key, value in labels(commit, name).items():
            container = container.with_label(key, value)
        return container
