#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace peerage {

// At most a megabyte of a file: INVALID_ARGUMENT, which names it, when there is none or more.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

// Files whose contents are looked at now and then: they are small, and their times may lie.
//
// Threads: none.
class WatchedFiles {
 public:
  // As they are now.
  explicit WatchedFiles(std::vector<std::string> paths);

  // Whether one of them holds something else than when it was last looked at, or came or went.
  bool HaveChanged();

 private:
  using Contents = std::vector<std::optional<std::string>>;  // nothing: it cannot be read

  Contents Read() const;

  const std::vector<std::string> paths_;
  Contents contents_;
};

}  // namespace peerage
