#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace peerage {

// Knows when a body that comes in chunks (RFC 9112, section 7.1) is whole, whose bytes come in any
// pieces. It keeps a line of them at most.
class ChunkedBody {
 public:
  // Reads on. True when there is nothing to wait for any more: it is whole, or broken.
  bool Add(absl::string_view bytes);

 private:
  enum class Part { kSize, kContent, kContentEnd, kTrailer, kOver };

  // A line is there, without its end. What comes next.
  Part AfterLine(absl::string_view line);
  Part AfterSize(absl::string_view line);

  Part part_ = Part::kSize;
  std::string line_;  // as far as it is there
  uint64_t content_left_ = 0;
};

}  // namespace peerage
