#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {

// The stack of a pickle's values, by index, with its marks and what was kept of it.
class PickleStack {
 public:
  static constexpr size_t kMost = size_t{4} << 20;  // marks, and kept values

  void Push(uint32_t value) { values_.push_back(value); }

  absl::Status Mark() {
    if (marks_.size() == kMost) return absl::InvalidArgumentError("too many marks");
    marks_.push_back(values_.size());
    return absl::OkStatus();
  }

  absl::StatusOr<uint32_t> Top() const {
    if (Available() == 0) return absl::InvalidArgumentError("nothing on the stack");
    return values_.back();
  }

  absl::StatusOr<uint32_t> Pop() {
    ASSIGN_OR_RETURN(const uint32_t top, Top());
    values_.pop_back();
    return top;
  }

  // In the order in which they were pushed.
  absl::StatusOr<std::vector<uint32_t>> Pop(size_t count) {
    if (Available() < count) return absl::InvalidArgumentError("too little on the stack");
    std::vector<uint32_t> taken(values_.end() - static_cast<ptrdiff_t>(count), values_.end());
    values_.resize(values_.size() - count);
    return taken;
  }

  // What lies above the last mark, and the mark.
  absl::StatusOr<std::vector<uint32_t>> PopMarked() {
    if (marks_.empty()) return absl::InvalidArgumentError("no mark on the stack");
    absl::StatusOr<std::vector<uint32_t>> taken = Pop(Available());
    marks_.pop_back();
    return taken;
  }

  // Keeps the top under a number of the pickle's choice; the next free one for Python's MEMOIZE.
  absl::Status Keep(uint64_t number) {
    ASSIGN_OR_RETURN(const uint32_t top, Top());
    if (kept_.size() == kMost) return absl::InvalidArgumentError("too much is kept");
    kept_[number] = top;
    return absl::OkStatus();
  }
  uint64_t next_number() const { return kept_.size(); }

  absl::Status PushKept(uint64_t number) {
    const auto found = kept_.find(number);
    if (found == kept_.end()) {
      return absl::InvalidArgumentError(absl::StrCat("nothing was kept as ", number));
    }
    Push(found->second);
    return absl::OkStatus();
  }

  // Whether one value is all that there is.
  bool IsDone() const { return values_.size() == 1 && marks_.empty(); }

 private:
  // Nothing under the last mark may be taken.
  size_t Available() const { return values_.size() - (marks_.empty() ? 0 : marks_.back()); }

  std::vector<uint32_t> values_;
  std::vector<size_t> marks_;  // sizes of the stack
  absl::flat_hash_map<uint64_t, uint32_t> kept_;
};

}  // namespace peerage
