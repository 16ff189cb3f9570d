"""What pyproject.toml cannot say: the version is the repository's, and the operators are built by its
CMake. The library is put into the wheel with the one that it needs and PyTorch does not have.
"""

import os
import pathlib
import re
import shutil
import subprocess

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = pathlib.Path(os.environ.get("PEERAGE_REPOSITORY", HERE.parents[1]))
LIBRARY = "libpeerage_torch_operators.so"


def version():
    project = (REPOSITORY / "CMakeLists.txt").read_text()
    return re.search(r"project\(peerage VERSION ([\d.]+)", project).group(1)


def operators():
    path = pathlib.Path(os.environ.get("PEERAGE_TORCH_OPERATORS",
                                       REPOSITORY / "build/oracle/lib" / LIBRARY))
    if not path.exists():
        raise SystemExit(f"{path} is not there: `make torch-wheel` in the repository builds it")
    return path


def loaded_from(library, name):
    """Where the loader finds a library that another one needs."""
    listed = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s*{re.escape(name)}\S* => (\S+)", listed, re.MULTILINE)
    if not found:
        raise SystemExit(f"{library} does not need {name}")
    return pathlib.Path(found.group(1))


class BuildWithOperators(build_py):

    def run(self):
        super().run()
        package = pathlib.Path(self.build_lib) / "peerage_torch"
        library = operators()
        highway = loaded_from(library, "libhwy.so")
        shutil.copy(library, package / LIBRARY)
        shutil.copy(highway, package / highway.name)


class PlatformWheel(bdist_wheel):
    """No code of it is Python's own, so that one wheel is for every version of Python."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class PlatformDistribution(Distribution):

    def has_ext_modules(self):
        return True


setup(version=version(), distclass=PlatformDistribution,
      cmdclass={"build_py": BuildWithOperators, "bdist_wheel": PlatformWheel})
