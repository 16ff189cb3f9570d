#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/text.h"

namespace peerage {

// The same error, with the name of the file that it is about in front (once).
inline absl::Status InFile(std::string_view file, const absl::Status& error) {
  const absl::string_view message = error.message();
  if (error.ok() || std::string_view(message.data(), message.size()).starts_with(file)) {
    return error;
  }
  return absl::Status(error.code(),
                      Concat(file, ": ", std::string_view(message.data(), message.size())));
}

template <typename T>
absl::StatusOr<T> InFile(std::string_view file, absl::StatusOr<T> result) {
  if (result.ok()) return result;
  return InFile(file, result.status());
}

}  // namespace peerage
