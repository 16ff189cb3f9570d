#include "model/checkpoint/container/gguf_scanner.h"

namespace peerage {

constexpr uint64_t kBufferBytes = 256 << 10;

absl::Status GgufScanner::Bytes(absl::Span<uint8_t> bytes) {
  if (bytes.size() > remaining()) {
    return absl::InvalidArgumentError(absl::StrCat("truncated: ", bytes.size(), " bytes wanted at ",
                                                   position(), ", ", remaining(), " left"));
  }
  while (!bytes.empty()) {
    if (next_ == buffer_.size()) RETURN_IF_ERROR(Refill());
    const size_t count = std::min(bytes.size(), buffer_.size() - next_);
    std::memcpy(bytes.data(), &buffer_[next_], count);
    next_ += count;
    bytes.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> GgufScanner::String(uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const uint64_t length, Integer<uint64_t>());
  if (length > max_bytes || length > remaining()) {
    return absl::InvalidArgumentError(absl::StrCat("string of ", length, " bytes; at most ",
                                                   std::min(max_bytes, remaining()), " here"));
  }
  if (length <= buffer_.size() - next_) {
    std::string text(reinterpret_cast<const char*>(buffer_.data()) + next_, length);
    next_ += length;
    return text;
  }
  std::string text(length, '\0');
  RETURN_IF_ERROR(Bytes(absl::MakeSpan(reinterpret_cast<uint8_t*>(text.data()), text.size())));
  return text;
}

absl::Status GgufScanner::Refill() {
  buffer_begin_ += buffer_.size();
  next_ = 0;
  buffer_.resize(std::min(kBufferBytes, end_ - buffer_begin_));
  return file_.Read(buffer_begin_, absl::MakeSpan(buffer_));
}

}  // namespace peerage
