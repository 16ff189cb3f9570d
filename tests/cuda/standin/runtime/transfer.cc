#include "transfer.h"

#include <cstring>

#include "runtime.h"
#include "schedule.h"

namespace standin {
namespace {

// Rows on the host, or of a device.
struct Side {
  Device* device = nullptr;  // null: the host's
  uint64_t address = 0;
  size_t width = 0, height = 0, pitch = 0;

  uint64_t bytes() const { return (height - 1) * pitch + width; }
  uint64_t Row(size_t row) const { return address + row * pitch; }
  uint8_t* At(size_t row) const {
    return device == nullptr ? reinterpret_cast<uint8_t*>(Row(row)) : device->memory.At(Row(row));
  }
  bool IsPageable() const {
    return device == nullptr &&
           !runtime().host.IsPinned(reinterpret_cast<const void*>(address), bytes());
  }
  // Empty, or why the rows may not be touched.
  std::string Problem() const {
    if (device == nullptr || device->memory.Holds(address, bytes())) return {};
    return std::to_string(bytes()) + " bytes from " + device->memory.Describe(address);
  }
};

Side MakeSide(const void* p, size_t width, size_t height, size_t pitch) {
  return {DeviceOf(p), reinterpret_cast<uint64_t>(p), width, height, pitch};
}

bool Agrees(cudaMemcpyKind kind, const Side& to, const Side& from) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return to.device == nullptr && from.device == nullptr;
    case cudaMemcpyHostToDevice:
      return to.device != nullptr && from.device == nullptr;
    case cudaMemcpyDeviceToHost:
      return to.device == nullptr && from.device != nullptr;
    case cudaMemcpyDeviceToDevice:
      return to.device != nullptr && from.device != nullptr;
    default:
      return true;
  }
}

const char* NameOf(const Side& to, const Side& from) {
  if (to.device == nullptr) return from.device == nullptr ? "host copies" : "device to host copies";
  return from.device == nullptr ? "host to device copies" : "device to device copies";
}

cudaError_t Refuse(const Side& side, const char* what) {
  const std::string problem = side.Problem();
  if (problem.empty()) return cudaSuccess;
  runtime().reports.Add(std::string(what) + " " + problem);
  return cudaErrorInvalidValue;
}

void CopyRow(const Side& to, const Side& from, size_t row) {
  std::memmove(to.At(row), from.At(row), to.width);
  if (to.device == nullptr) return;
  if (from.device == nullptr) {
    to.device->memory.MarkWritten(to.Row(row), to.width);
  } else {
    to.device->memory.CopyWritten(to.Row(row), from.device->memory, from.Row(row), to.width);
  }
}

Work MakeCopy(const Side& to, const Side& from) {
  Work work{"copy", cudaGraphNodeTypeMemcpy, {}, {}};
  work.run = [=] {
    // A graph may be launched long after its copies were captured.
    if (Refuse(to, "a copy to") != cudaSuccess || Refuse(from, "a copy of") != cudaSuccess) {
      return cudaErrorIllegalAddress;
    }
    for (size_t row = 0; row < to.height; ++row) CopyRow(to, from, row);
    return cudaSuccess;
  };
  const auto span = [](const Side& side) {
    return HostSpan{side.At(0), side.width, side.height, side.pitch};
  };
  if (from.device == nullptr && !from.IsPageable()) work.host.reads.push_back(span(from));
  if (to.device == nullptr && !to.IsPageable()) work.host.writes.push_back(span(to));
  return work;
}

}  // namespace

cudaError_t Copy(const Transfer& t, const std::shared_ptr<Stream>& stream, bool wait) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (t.width == 0 || t.height == 0) return cudaSuccess;
  if (t.height > 1 && (t.width > t.to_pitch || t.width > t.from_pitch)) {
    return cudaErrorInvalidPitchValue;
  }
  const Side to = MakeSide(t.to, t.width, t.height, t.to_pitch);
  const Side from = MakeSide(t.from, t.width, t.height, t.from_pitch);
  if (t.to == nullptr || t.from == nullptr || !Agrees(t.kind, to, from)) {
    return cudaErrorInvalidValue;
  }
  if (Refuse(to, "a copy to") != cudaSuccess || Refuse(from, "a copy of") != cudaSuccess) {
    return cudaErrorInvalidValue;
  }
  Runtime& r = runtime();
  if (to.IsPageable() || from.IsPageable()) {
    r.calls.Count("pageable copies");
    if (stream->capture != nullptr) {
      stream->capture->Invalidate();
      return cudaErrorStreamCaptureUnsupported;
    }
    wait = true;
  }
  r.calls.Count(NameOf(to, from));
  if (const cudaError_t error = Enqueue(stream, MakeCopy(to, from)); error != cudaSuccess) {
    return error;
  }
  if (!wait) return cudaSuccess;
  Drain(stream);
  return stream->device->sticky;
}

cudaError_t Set(const Fill& f, const std::shared_ptr<Stream>& stream) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (f.width == 0 || f.height == 0) return cudaSuccess;
  if (f.height > 1 && f.width > f.pitch) return cudaErrorInvalidPitchValue;
  const Side to = MakeSide(f.to, f.width, f.height, f.pitch);
  if (to.device == nullptr) return cudaErrorInvalidValue;
  if (Refuse(to, "a memset of") != cudaSuccess) return cudaErrorInvalidValue;
  Work work{"memset", cudaGraphNodeTypeMemset, {}, {}};
  work.run = [to, value = f.value] {
    if (Refuse(to, "a memset of") != cudaSuccess) return cudaErrorIllegalAddress;
    for (size_t row = 0; row < to.height; ++row) {
      std::memset(to.At(row), value, to.width);
      to.device->memory.MarkWritten(to.Row(row), to.width);
    }
    return cudaSuccess;
  };
  return Enqueue(stream, std::move(work));
}

}  // namespace standin
