#include "schedule.h"

#include "call.h"
#include "runtime.h"

namespace standin {
namespace {

void RunNext(const std::shared_ptr<Stream>& stream) {
  Runtime& r = runtime();
  Stream::Piece piece = std::move(stream->queue.front());
  stream->queue.pop_front();
  stream->running = true;
  for (const Moment& moment : piece.after) DrainTo(moment);
  if (const std::string wrong = r.staging.Run(piece.watch); !wrong.empty()) r.reports.Add(wrong);
  Device& device = *stream->device;
  if (device.sticky == cudaSuccess) {
    if (const cudaError_t error = piece.work.run(); error != cudaSuccess) device.Lose(error);
  }
  ++stream->done;
  stream->running = false;
  r.idle.notify_all();
}

std::vector<std::shared_ptr<Stream>> AllStreams() {
  std::vector<std::shared_ptr<Stream>> all;
  for (const auto& device : runtime().devices) all.push_back(device->default_stream);
  for (const auto& [handle, stream] : runtime().streams) all.push_back(stream);
  return all;
}

void RunSome() {
  Runtime& r = runtime();
  for (uint64_t n = r.random() % 4; n > 0; --n) {
    auto ready = AllStreams();
    std::erase_if(ready, [](const auto& s) { return s->queue.empty() || s->running; });
    if (ready.empty()) return;
    RunNext(ready[r.random() % ready.size()]);
  }
}

bool IsDefault(const Stream& stream) { return stream.device->default_stream.get() == &stream; }

// The default stream and those that were not made non-blocking wait for each other.
void AddImplicit(const Stream& stream, std::vector<Moment>& after) {
  const auto& standard = stream.device->default_stream;
  if (!IsDefault(stream)) {
    if ((stream.flags & cudaStreamNonBlocking) == 0 && standard->done < standard->issued) {
      after.push_back({standard, standard->issued});
    }
    return;
  }
  for (const auto& [handle, other] : runtime().streams) {
    const bool blocking = (other->flags & cudaStreamNonBlocking) == 0;
    if (blocking && other->device == stream.device && other->done < other->issued) {
      after.push_back({other, other->issued});
    }
  }
}

}  // namespace

std::shared_ptr<Stream> FindStream(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return CurrentDevice().default_stream;
  return runtime().streams.Find(handle);
}

cudaError_t Enqueue(const std::shared_ptr<Stream>& stream, Work work, std::vector<Moment> after) {
  Runtime& r = runtime();
  if (stream->capture != nullptr) return stream->capture->Add(*stream, std::move(work));
  // What a thread gives to the default stream while it captures was meant for the graph.
  if (IsDefault(*stream) && RefuseWhileCapturing() != cudaSuccess) {
    return cudaErrorStreamCaptureImplicit;
  }
  AddImplicit(*stream, after);
  Stream::Piece piece{std::move(work), std::move(after), {}};
  if (r.settings.schedule != Schedule::kEager) piece.watch = r.staging.Queue(piece.work.host);
  stream->queue.push_back(std::move(piece));
  ++stream->issued;
  if (r.settings.schedule == Schedule::kEager) Drain(stream);
  if (r.settings.schedule == Schedule::kRandom) RunSome();
  return cudaSuccess;
}

void DrainTo(const Moment& moment) {
  Runtime& r = runtime();
  const std::shared_ptr<Stream> stream = moment.stream;
  while (stream->done < moment.ticket) {
    if (stream->running) {
      r.idle.wait(*HeldLock());
    } else {
      RunNext(stream);
    }
  }
}

void Drain(const std::shared_ptr<Stream>& stream) { DrainTo({stream, stream->issued}); }

void DrainDevice(Device& device) {
  for (const auto& stream : AllStreams()) {
    if (stream->device == &device) Drain(stream);
  }
}

bool Poll(const Moment& moment) {
  Stream& stream = *moment.stream;
  if (stream.done < moment.ticket && !stream.running) RunNext(moment.stream);
  return stream.done >= moment.ticket;
}

cudaError_t RefuseWhileCapturing() {
  cudaError_t error = cudaSuccess;
  for (const auto& capture : runtime().captures) {
    if (!capture->Forbids()) continue;
    capture->Invalidate();
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

}  // namespace standin
