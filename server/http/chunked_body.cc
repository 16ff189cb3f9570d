#include "server/http/chunked_body.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace peerage {

bool ChunkedBody::Add(absl::string_view bytes) {
  while (!bytes.empty() && part_ != Part::kOver) {
    if (part_ == Part::kContent) {
      const size_t taken = std::min<uint64_t>(content_left_, bytes.size());
      content_left_ -= taken;
      bytes.remove_prefix(taken);
      if (content_left_ == 0) part_ = Part::kContentEnd;
      continue;
    }
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    line_.append(bytes.data(), end);
    if (end == bytes.size()) break;
    bytes.remove_prefix(end + 1);
    part_ = AfterLine(absl::StripSuffix(line_, "\r"));
    line_.clear();
  }
  return part_ == Part::kOver;
}

ChunkedBody::Part ChunkedBody::AfterLine(absl::string_view line) {
  switch (part_) {
    case Part::kSize:
      return AfterSize(line);
    case Part::kContentEnd:
      return line.empty() ? Part::kSize : Part::kOver;
    default:
      return line.empty() ? Part::kOver : Part::kTrailer;
  }
}

ChunkedBody::Part ChunkedBody::AfterSize(absl::string_view line) {
  // What follows a semicolon is an extension, and nobody here knows any.
  const absl::string_view digits = absl::StripAsciiWhitespace(line.substr(0, line.find(';')));
  const bool plain =
      !digits.empty() && std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit);
  if (!plain || !absl::SimpleHexAtoi(digits, &content_left_)) return Part::kOver;
  return content_left_ == 0 ? Part::kTrailer : Part::kContent;
}

}  // namespace peerage
