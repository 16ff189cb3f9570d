#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/door/frame_reader.h"

namespace peerage {

// What an HTTP/2 client sends first.
inline const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string BigEndianText(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

inline std::string FrameOf(FrameType type, uint8_t flags, uint32_t stream,
                           absl::string_view payload = "") {
  return absl::StrCat(BigEndianText(static_cast<uint32_t>(payload.size()), 3),
                      std::string(1, static_cast<char>(type)),
                      std::string(1, static_cast<char>(flags)), BigEndianText(stream, 4), payload);
}

// A client begins a call, and cancels one.
inline std::string Call(uint32_t stream, uint8_t more_flags = 0) {
  return FrameOf(FrameType::kHeaders, FrameHead::kEndHeaders | more_flags, stream, "headers");
}
inline std::string Reset(uint32_t stream) { return FrameOf(FrameType::kReset, 0, stream, "code"); }

}  // namespace peerage
