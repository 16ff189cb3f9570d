"""So many clients of gRPC's own making, each with a connection, that give up after a millisecond and
call again: ADDRESS CLIENTS SECONDS."""

import asyncio
import pathlib
import sys
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import frames  # noqa: E402
import wellformed  # noqa: E402


async def client(address, end, request):
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        generate = channel.unary_unary(frames.GENERATE)
        while time.monotonic() < end:
            try:
                await generate(request, timeout=0.001)
            except grpc.RpcError:
                pass  # it gave up, as it was told to


async def main():
    address, clients, seconds = sys.argv[1:]
    end = time.monotonic() + float(seconds)
    request = wellformed.generate(40).SerializeToString()
    await asyncio.gather(*[client(address, end, request) for _ in range(int(clients))])


if __name__ == "__main__":
    asyncio.run(main())
