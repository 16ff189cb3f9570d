// The runtime's streams, and host functions in them.
#include <cuda_runtime_api.h>

#include "call.h"
#include "schedule.h"

using namespace standin;

namespace {

cudaError_t Create(cudaStream_t* handle, unsigned flags, int priority) {
  static uint64_t made = 0;
  if (handle == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) {
    return cudaErrorInvalidValue;
  }
  auto stream = std::make_shared<Stream>();
  stream->device = &CurrentDevice();
  stream->flags = flags;
  stream->priority = priority;
  stream->id = ++made;
  *handle = runtime().streams.Add(std::move(stream));
  return cudaSuccess;
}

template <typename Body>
cudaError_t WithStream(const char* function, cudaStream_t handle, Body&& body) {
  return Api(function, [&] {
    const std::shared_ptr<Stream> stream = FindStream(handle);
    return stream == nullptr ? cudaErrorInvalidResourceHandle : body(stream);
  });
}

// A wait for a stream that captures ends the capture in failure.
cudaError_t RefuseCapturing(const Stream& stream) {
  if (stream.capture == nullptr) return cudaSuccess;
  stream.capture->Invalidate();
  return cudaErrorStreamCaptureUnsupported;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* s) {
  return Api(__func__, [&] { return Create(s, cudaStreamDefault, 0); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  return Api(__func__, [&] { return Create(s, flags, 0); });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int priority) {
  return Api(__func__, [&] { return Create(s, flags, priority); });
}

cudaError_t cudaStreamDestroy(cudaStream_t s) {
  return Api(__func__, [&] {
    const std::shared_ptr<Stream> stream = runtime().streams.Find(s);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    // What it was told is still done.
    Drain(stream);
    if (stream->capture != nullptr) {
      stream->capture->Invalidate();
      stream->capture->Forget(*stream);
    }
    runtime().streams.Remove(s);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  return WithStream(__func__, s, [](const auto& stream) {
    if (const cudaError_t error = RefuseCapturing(*stream); error != cudaSuccess) return error;
    Drain(stream);
    return stream->device->sticky;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t s) {
  return WithStream(__func__, s, [](const auto& stream) {
    if (const cudaError_t error = RefuseCapturing(*stream); error != cudaSuccess) return error;
    if (!Poll({stream, stream->issued})) return cudaErrorNotReady;
    return stream->device->sticky;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return Api(__func__, [] {
    if (const cudaError_t error = RefuseWhileCapturing(); error != cudaSuccess) return error;
    DrainDevice(CurrentDevice());
    return CurrentDevice().sticky;
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned* flags) {
  return WithStream(__func__, s, [&](const auto& stream) {
    *flags = stream->flags;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t s, int* priority) {
  return WithStream(__func__, s, [&](const auto& stream) {
    *priority = stream->priority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t s, int* device) {
  return WithStream(__func__, s, [&](const auto& stream) {
    *device = stream->device->number;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetId(cudaStream_t s, unsigned long long* id) {
  return WithStream(__func__, s, [&](const auto& stream) {
    *id = stream->id;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return Api(__func__, [&] {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t function, void* data) {
  return WithStream(__func__, s, [&](const auto& stream) {
    Work work{"host function", cudaGraphNodeTypeHost, {}, {}};
    work.host.calls_host = true;
    work.run = [=] {
      RunHostFunction(function, data);
      return cudaSuccess;
    };
    return Enqueue(stream, std::move(work));
  });
}

}  // extern "C"
