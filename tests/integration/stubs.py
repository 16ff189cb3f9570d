"""The Python stubs of proto/, generated as any client would."""

import atexit
import importlib
import pathlib
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_stubs():
    """Makes `peerage.v1` importable until the program ends."""
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
