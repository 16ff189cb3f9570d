#include "server/http/request_collector.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace peerage {
namespace {

constexpr absl::string_view kHeadEnd = "\r\n\r\n";
// What chunks may take beside what they hold.
constexpr size_t kChunkOverhead = 64 << 10;

}  // namespace

bool RequestCollector::Add(absl::string_view bytes) {
  const size_t known = text_.size() < kHeadEnd.size() ? 0 : text_.size() - kHeadEnd.size() + 1;
  text_.append(bytes.data(), bytes.size());
  if (head_bytes_ == 0) {
    const size_t end = text_.find(kHeadEnd.data(), known, kHeadEnd.size());
    if (end == std::string::npos) return text_.size() > kMaxHeadBytes;
    head_bytes_ = end + kHeadEnd.size();
    ReadHead();
    bytes = absl::string_view(text_).substr(head_bytes_);
  }
  return BodyIsWhole(bytes);
}

bool RequestCollector::BodyIsWhole(absl::string_view bytes) {
  const size_t there = text_.size() - head_bytes_;
  if (in_chunks_) return chunks_.Add(bytes) || there > max_body_bytes_ + kChunkOverhead;
  return body_bytes_ > max_body_bytes_ || there >= body_bytes_;
}

void RequestCollector::ReadHead() {
  const absl::string_view head(text_.data(), head_bytes_);
  for (const absl::string_view line : absl::StrSplit(head, "\r\n")) {
    const size_t colon = std::min(line.find(':'), line.size());
    const absl::string_view name = line.substr(0, colon);
    const absl::string_view value =
        absl::StripAsciiWhitespace(line.substr(std::min(colon + 1, line.size())));
    if (absl::EqualsIgnoreCase(name, "Content-Length")) {
      // What is no number is refused later.
      if (!absl::SimpleAtoi(value, &body_bytes_)) body_bytes_ = 0;
    }
    if (absl::EqualsIgnoreCase(name, "Transfer-Encoding")) {
      in_chunks_ = absl::EqualsIgnoreCase(value, "chunked");
    }
  }
}

}  // namespace peerage
