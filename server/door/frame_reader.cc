#include "server/door/frame_reader.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace peerage {
namespace {

constexpr absl::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

}  // namespace

FrameReader::FrameReader(Begin begin)
    : preface_left_(begin == Begin::kWithPreface ? kPreface : absl::string_view()) {}

bool FrameReader::Read(absl::string_view bytes, absl::FunctionRef<bool(const FrameHead&)> on_frame,
                       absl::FunctionRef<void(size_t)> on_end) {
  const size_t size = bytes.size();
  if (!ReadPreface(bytes)) return false;
  while (!bytes.empty()) {
    if (payload_left_ > 0) {
      const size_t part = std::min<size_t>(payload_left_, bytes.size());
      payload_left_ -= static_cast<uint32_t>(part);
      bytes.remove_prefix(part);
      if (payload_left_ == 0) on_end(size - bytes.size());
    } else if (ReadHead(bytes)) {
      const FrameHead head = Head();
      head_bytes_ = 0;
      payload_left_ = head.length;
      if (!on_frame(head)) return false;
      if (payload_left_ == 0) on_end(size - bytes.size());
    }
  }
  return true;
}

bool FrameReader::ReadPreface(absl::string_view& bytes) {
  const size_t size = std::min(preface_left_.size(), bytes.size());
  if (bytes.substr(0, size) != preface_left_.substr(0, size)) return false;
  preface_left_.remove_prefix(size);
  bytes.remove_prefix(size);
  return true;
}

bool FrameReader::ReadHead(absl::string_view& bytes) {
  const size_t size = std::min(head_.size() - head_bytes_, bytes.size());
  std::copy_n(bytes.begin(), size, head_.begin() + static_cast<ptrdiff_t>(head_bytes_));
  head_bytes_ += size;
  bytes.remove_prefix(size);
  return head_bytes_ == head_.size();
}

FrameHead FrameReader::Head() const {
  const auto big_endian = [this](size_t begin, size_t end) {
    uint32_t value = 0;
    for (size_t i = begin; i < end; ++i) value = value << 8 | head_[i];
    return value;
  };
  constexpr uint32_t kReservedBit = 1u << 31;
  return {.length = big_endian(0, 3),
          .type = static_cast<FrameType>(head_[3]),
          .flags = head_[4],
          .stream = big_endian(5, 9) & ~kReservedBit};
}

}  // namespace peerage
