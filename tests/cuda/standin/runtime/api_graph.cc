// The runtime's graphs: captured, instantiated and launched; nothing is built or changed by hand.
#include <cuda_runtime_api.h>

#include "call.h"
#include "schedule.h"

using namespace standin;

namespace {

cudaError_t Begin(const std::shared_ptr<Stream>& stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream == stream->device->default_stream) return cudaErrorStreamCaptureUnsupported;
  if (stream->capture != nullptr) return cudaErrorIllegalState;
  stream->capture = std::make_shared<Capture>(*stream, mode);
  runtime().captures.push_back(stream->capture);
  return stream->capture->Join(*stream, {});
}

cudaError_t End(const std::shared_ptr<Stream>& stream, cudaGraph_t* graph) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture == nullptr) return cudaErrorIllegalState;
  const std::shared_ptr<Capture> capture = stream->capture;
  const cudaError_t error = capture->End(*stream);
  if (graph != nullptr) *graph = nullptr;
  if (error == cudaErrorStreamCaptureUnmatched || error == cudaErrorStreamCaptureWrongThread) {
    capture->Invalidate();
    return error;
  }
  EndCapture(capture);
  if (error == cudaSuccess) {
    *graph = runtime().graphs.Add(std::make_shared<Graph>(capture->graph()));
  }
  return error;
}

cudaError_t Instantiate(cudaGraphExec_t* out, cudaGraph_t handle) {
  const std::shared_ptr<Graph> graph = runtime().graphs.Find(handle);
  if (graph == nullptr || out == nullptr) return cudaErrorInvalidValue;
  *out = runtime().executables.Add(std::make_shared<Graph>(*graph));
  return cudaSuccess;
}

cudaError_t Launch(const std::shared_ptr<Graph>& graph, const std::shared_ptr<Stream>& stream) {
  if (graph == nullptr || stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    stream->capture->Invalidate();
    return cudaErrorStreamCaptureUnsupported;
  }
  Work work{"graph", cudaGraphNodeTypeGraph, {}, graph->host_access()};
  work.run = [graph] {
    Runtime& r = runtime();
    return graph->Run(r.settings.schedule, [&r] { return r.random(); });
  };
  // Launches of one graph do not overlap, whatever their streams.
  std::vector<Moment> after;
  if (const auto last = graph->last_stream.lock(); last != nullptr && last != stream) {
    after.push_back({last, graph->last_ticket});
  }
  const cudaError_t error = Enqueue(stream, std::move(work), std::move(after));
  graph->last_stream = stream;
  graph->last_ticket = stream->issued;
  return error;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
  return Api(__func__, [&] { return Begin(FindStream(s), mode); });
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  return Api(__func__, [&] { return End(FindStream(s), graph); });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
  return Api(__func__, [&] {
    const auto stream = FindStream(s);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *status = stream->capture == nullptr   ? cudaStreamCaptureStatusNone
              : stream->capture->invalid() ? cudaStreamCaptureStatusInvalidated
                                           : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t graph, unsigned long long) {
  return Api(__func__, [&] { return Instantiate(out, graph); });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* out, cudaGraph_t graph,
                                          unsigned long long) {
  return Api(__func__, [&] { return Instantiate(out, graph); });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t) {
  return Api(__func__, [&] {
    return runtime().executables.Find(graph) == nullptr ? cudaErrorInvalidResourceHandle
                                                        : cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t s) {
  return Api(__func__, [&] { return Launch(runtime().executables.Find(graph), FindStream(s)); });
}

// Counts them; a node has no handle.
cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, size_t* count) {
  return Api(__func__, [&] {
    const auto graph = runtime().graphs.Find(handle);
    if (graph == nullptr || count == nullptr) return cudaErrorInvalidValue;
    if (nodes != nullptr) return cudaErrorNotSupported;
    *count = graph->nodes.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return Api(__func__, [&] {
    return runtime().graphs.Remove(graph) == nullptr ? cudaErrorInvalidValue : cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  return Api(__func__, [&] {
    return runtime().executables.Remove(graph) == nullptr ? cudaErrorInvalidValue : cudaSuccess;
  });
}

}  // extern "C"
