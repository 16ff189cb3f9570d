// The runtime's events.
#include <cuda_runtime_api.h>

#include "call.h"
#include "schedule.h"

using namespace standin;

namespace {

using Clock = std::chrono::steady_clock;

cudaError_t Create(cudaEvent_t* handle, unsigned flags) {
  if (handle == nullptr) return cudaErrorInvalidValue;
  auto event = std::make_shared<Event>();
  event->device = &CurrentDevice();
  event->flags = flags;
  *handle = runtime().events.Add(std::move(event));
  return cudaSuccess;
}

template <typename Body>
cudaError_t WithEvent(const char* function, cudaEvent_t handle, Body&& body) {
  return Api(function, [&] {
    const std::shared_ptr<Event> event = runtime().events.Find(handle);
    return event == nullptr ? cudaErrorInvalidResourceHandle : body(*event);
  });
}

cudaError_t Record(Event& event, const std::shared_ptr<Stream>& stream) {
  if (stream == nullptr || stream->device != event.device) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    if (stream->capture->invalid()) return cudaErrorStreamCaptureInvalidated;
    event.capture = stream->capture;
    event.frontier = stream->frontier;
    return cudaSuccess;
  }
  event.capture = nullptr;
  event.time = std::make_shared<Clock::time_point>();
  Work work{"event", cudaGraphNodeTypeEventRecord, {}, {}};
  work.run = [time = event.time] {
    *time = Clock::now();
    return cudaSuccess;
  };
  const cudaError_t error = Enqueue(stream, std::move(work));
  if (error == cudaSuccess) event.recorded = {stream, stream->issued};
  return error;
}

// A stream that waits for an event of a capture becomes part of it.
cudaError_t JoinCapture(Stream& stream, const Event& event) {
  if (stream.capture != nullptr && stream.capture != event.capture) {
    stream.capture->Invalidate();
    event.capture->Invalidate();
    return cudaErrorStreamCaptureMerge;
  }
  stream.capture = event.capture;
  return event.capture->Join(stream, event.frontier);
}

cudaError_t Wait(const std::shared_ptr<Stream>& stream, const Event& event) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (event.capture != nullptr) return JoinCapture(*stream, event);
  if (stream->capture != nullptr) {
    stream->capture->Invalidate();
    return cudaErrorStreamCaptureIsolation;
  }
  if (event.recorded.stream == nullptr) return cudaSuccess;
  Work work{"wait", cudaGraphNodeTypeWaitEvent, [] { return cudaSuccess; }, {}};
  return Enqueue(stream, std::move(work), {event.recorded});
}

cudaError_t Elapsed(float* ms, const Event& from, const Event& to) {
  for (const Event* event : {&from, &to}) {
    if ((event->flags & cudaEventDisableTiming) != 0 || event->recorded.stream == nullptr) {
      return cudaErrorInvalidResourceHandle;
    }
    if (event->recorded.stream->done < event->recorded.ticket) return cudaErrorNotReady;
  }
  *ms = std::chrono::duration<float, std::milli>(*to.time - *from.time).count();
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaEventCreate(cudaEvent_t* e) {
  return Api(__func__, [&] { return Create(e, cudaEventDefault); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags) {
  return Api(__func__, [&] { return Create(e, flags); });
}

cudaError_t cudaEventDestroy(cudaEvent_t e) {
  return Api(__func__, [&] {
    return runtime().events.Remove(e) == nullptr ? cudaErrorInvalidResourceHandle : cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  return WithEvent(__func__, e, [&](Event& event) { return Record(event, FindStream(s)); });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned flags) {
  return WithEvent(__func__, e, [&](Event& event) {
    return flags != cudaEventRecordDefault ? cudaErrorNotSupported : Record(event, FindStream(s));
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  return WithEvent(__func__, e, [](const Event& event) {
    if (event.capture != nullptr) return cudaErrorCapturedEvent;
    if (event.recorded.stream == nullptr) return cudaSuccess;
    DrainTo(event.recorded);
    return event.device->sticky;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t e) {
  return WithEvent(__func__, e, [](const Event& event) {
    if (event.capture != nullptr) return cudaErrorCapturedEvent;
    if (event.recorded.stream != nullptr && !Poll(event.recorded)) return cudaErrorNotReady;
    return event.device->sticky;
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  return WithEvent(__func__, from, [&](const Event& first) {
    const auto last = runtime().events.Find(to);
    return last == nullptr ? cudaErrorInvalidResourceHandle : Elapsed(ms, first, *last);
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags) {
  return WithEvent(__func__, e, [&](const Event& event) {
    return flags != cudaEventWaitDefault ? cudaErrorNotSupported : Wait(FindStream(s), event);
  });
}

}  // extern "C"
