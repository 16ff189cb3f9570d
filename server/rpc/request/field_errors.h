#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Gathers what is wrong with a request, so that a caller can mend it in one go. Becomes an
// INVALID_ARGUMENT status that carries a google.rpc.BadRequest.
//
// Threads: none.
class FieldErrors {
 public:
  // Error details travel in trailers, where clients accept 8 KiB by default: only the first few
  // violations are listed.
  static constexpr size_t kMaxListed = 16;

  // No more is listed: who looks through a list that may be long stops here, for a request may have
  // a million mistakes.
  bool full() const { return listed_.size() == kMaxListed; }

  // `path` leads to the field as in `sampling.top_p` or `continuations[2].text`; `rule` says what
  // must hold, as in "must be in (0, 1]". Nothing happens when it is full.
  void Add(absl::string_view path, absl::string_view rule);

  // OK when nothing was added.
  absl::Status ToStatus() const;

 private:
  struct Violation {
    std::string path;
    std::string rule;
  };
  std::vector<Violation> listed_;
};

// The status of one wrong field.
absl::Status FieldError(absl::string_view path, absl::string_view rule);

}  // namespace peerage
