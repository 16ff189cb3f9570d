"""A peerage-server process and the Python stubs of its protos, for tests."""

import atexit
import importlib
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY = re.compile(r"^peerage-server ready grpc=(\S+) admin=(\S+) model=(\S+)\n$")


def load_stubs():
    """Generates the stubs of proto/ as any client would and makes `peerage.v1` importable."""
    folder = tempfile.TemporaryDirectory(prefix="peerage-stubs-")
    atexit.register(folder.cleanup)
    # google/rpc/status.proto is imported; its Python module comes with googleapis-common-protos.
    common = pathlib.Path(importlib.import_module("google.rpc.status_pb2").__file__).parents[2]
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    protos = sorted(str(p) for p in (ROOT / "proto/peerage/v1").glob("*.proto"))
    code = protoc.main([
        "protoc", f"-I{ROOT / 'proto'}", f"-I{common}", f"-I{well_known}",
        f"--python_out={folder.name}", f"--grpc_python_out={folder.name}", *protos])
    if code != 0:
        raise RuntimeError("protoc failed")
    sys.path.insert(0, folder.name)


class PeerageServer:
    """Runs the program until stop(); `address` and `model` are what its ready line says."""

    def __init__(self, program, model_path, *options, ready_timeout=60):
        self._process = subprocess.Popen(
            [program, "--model", model_path, "--listen", "127.0.0.1:0",
             "--admin-listen", "127.0.0.1:0", *options],
            stdout=subprocess.PIPE, text=True, env={"PATH": os.environ.get("PATH", "")})
        line = self._read_line(ready_timeout)
        match = READY.match(line)
        if not match:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"no ready line but {line!r}")
        self.address, self.admin_address, self.model = match.groups()

    def _read_line(self, timeout):
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        return self._process.stdout.readline() if ready else ""

    def stop(self):
        """SIGTERM; returns the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=60)
        finally:
            self._process.kill()
            self._process.stdout.close()
