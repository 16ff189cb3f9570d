"""What pyproject.toml cannot say: the version is the repository's, and the stubs are generated.

The repository keeps no generated code. Building a wheel runs protoc over proto/ and puts
`peerage.v1` into it; a source distribution carries the protos and the version along, so
that it builds where the repository is not.
"""

import pathlib
import re
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
VERSION = HERE / "VERSION"  # only a source distribution has it, and proto/ beside it
REPOSITORY = HERE.parents[1] if not VERSION.exists() else None
PROTOS = (REPOSITORY or HERE) / "proto"


def version():
    if REPOSITORY is None:
        return VERSION.read_text().strip()
    project = (REPOSITORY / "CMakeLists.txt").read_text()
    return re.search(r"project\(peerage VERSION ([\d.]+)", project).group(1)


def generate_stubs(folder):
    """Messages, types and services of every proto, as the package `peerage.v1` in `folder`."""
    import grpc_tools
    from google.rpc import status_pb2
    from grpc_tools import protoc

    tools = pathlib.Path(grpc_tools.__file__).parent
    google_rpc = pathlib.Path(status_pb2.__file__).parents[2]
    protos = sorted(str(path) for path in PROTOS.glob("peerage/v1/*.proto"))
    code = protoc.main([
        "protoc", f"-I{PROTOS}", f"-I{google_rpc}", f"-I{tools / '_proto'}",
        f"--python_out={folder}", f"--pyi_out={folder}", f"--grpc_python_out={folder}", *protos])
    if not protos or code != 0:
        raise RuntimeError(f"protoc could not read the protos of {PROTOS}")
    (pathlib.Path(folder) / "peerage/v1/__init__.py").write_text(
        '"""Messages and stubs of the wire contract, generated from its protos."""\n')


class BuildWithStubs(build_py):

    def run(self):
        super().run()
        generate_stubs(HERE if self.editable_mode else self.build_lib)


class SourceWithProtos(sdist):

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        base = pathlib.Path(base_dir)
        if REPOSITORY is not None:
            (base / "VERSION").write_text(version() + "\n")
        for path in PROTOS.glob("peerage/v1/*.proto"):
            target = base / "proto" / path.relative_to(PROTOS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


setup(version=version(), cmdclass={"build_py": BuildWithStubs, "sdist": SourceWithProtos})
