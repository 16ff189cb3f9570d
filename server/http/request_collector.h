#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "server/http/chunked_body.h"

namespace peerage {

// Gathers what a client sends until it is a whole HTTP/1 request, so that who reads it waits for
// nobody. It judges nothing but sizes: whatever is wrong, its reader finds.
class RequestCollector {
 public:
  static constexpr size_t kMaxHeadBytes = 16 << 10;

  // Larger bodies are not waited for: their reader refuses them by what their head says, or by what
  // there is of them.
  explicit RequestCollector(size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // True when there is nothing to wait for any more.
  bool Add(absl::string_view bytes);

  // What came.
  std::string Take() { return std::move(text_); }

 private:
  // Of the body, these came last.
  bool BodyIsWhole(absl::string_view bytes);
  void ReadHead();

  const size_t max_body_bytes_;
  std::string text_;
  size_t head_bytes_ = 0;  // 0: not yet known
  size_t body_bytes_ = 0;
  bool in_chunks_ = false;
  ChunkedBody chunks_;
};

}  // namespace peerage
