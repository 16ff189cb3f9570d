#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace peerage {

// A name from a file, fit for one line of an error text: quoted, escaped and shortened, because
// whoever wrote the file chose it.
inline std::string Quoted(absl::string_view name) {
  constexpr size_t kLongest = 128;
  const absl::string_view ellipsis = name.size() > kLongest ? "..." : "";
  return absl::StrCat("\"", absl::CHexEscape(name.substr(0, kLongest)), ellipsis, "\"");
}

// The same error, with where it happened in front (once): a file, an option, a path of keys.
inline absl::Status At(absl::string_view place, const absl::Status& error) {
  if (error.ok() || absl::StartsWith(error.message(), place)) return error;
  return absl::Status(error.code(), absl::StrCat(place, ": ", error.message()));
}

template <typename T>
absl::StatusOr<T> At(absl::string_view place, absl::StatusOr<T> result) {
  if (result.ok()) return result;
  return At(place, result.status());
}

}  // namespace peerage
