#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace peerage {

// Finds the first of some stop strings in text that comes in pieces. Text that could begin a stop
// string is held back until that is decided. The match that ends first wins, among those the
// longest, so the result does not depend on how the text is cut.
//
// Threads: none.
// Cost: linear in the text for each stop string (Knuth, Morris and Pratt 1977).
class StopMatcher {
 public:
  struct Result {
    std::string text;         // certain to be before any match
    std::optional<int> stop;  // index of the stop string that matched
  };

  // Precondition: no stop string is empty.
  explicit StopMatcher(const std::vector<std::string>& stops);

  // Precondition: nothing has matched yet.
  Result Append(absl::string_view text);

  // What was held back.
  std::string Flush();

 private:
  struct Pattern {
    std::string stop;
    std::vector<int> border;  // border[n]: longest proper border of the first n bytes
    int matched = 0;          // bytes of `stop` that the text ends with

    void Advance(char byte);
  };

  std::vector<Pattern> patterns_;
  std::string held_;
};

}  // namespace peerage
