#pragma once

#include <string>

#include "absl/strings/str_cat.h"

namespace peerage {

// What went wrong first in a world.
class Verdict {
 public:
  // The failure that the parts, put together, tell of, unless it `holds`.
  template <typename... Parts>
  void Require(bool holds, const Parts&... parts) {
    if (!holds && ok()) failure_ = absl::StrCat(parts...);
  }

  bool ok() const { return failure_.empty(); }
  const std::string& failure() const { return failure_; }

 private:
  std::string failure_;
};

}  // namespace peerage
