"""Stubs of one server, for tests whose subject is not the client."""

import grpc

import stubs
from server_process import LIMIT_SECONDS

stubs.load_stubs()
from peerage.v1 import inference_pb2_grpc, models_pb2, models_pb2_grpc  # noqa: E402


class ServerClient:
    """Closed with the `with` block."""

    def __init__(self, server):
        self.channel = grpc.insecure_channel(server.grpc)
        self.inference = inference_pb2_grpc.InferenceServiceStub(self.channel)
        self.admin = models_pb2_grpc.AdminServiceStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def status(self):
        return self.admin.GetServerStatus(models_pb2.GetServerStatusRequest(), timeout=LIMIT_SECONDS)
