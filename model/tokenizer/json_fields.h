#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace peerage {

// What was parsed from `file`; INVALID_ARGUMENT, naming the file, when it is not an object.
absl::StatusOr<nlohmann::json> ObjectOfFile(std::string_view file,
                                            absl::StatusOr<nlohmann::json> parsed);

// UNIMPLEMENTED, naming the key, when `object` (at `path`) has one that is not in `known`.
absl::Status CheckKeys(const nlohmann::json& object, std::string_view path,
                       std::initializer_list<std::string_view> known);

// The value of an optional key: `fallback` when it is absent or null, INVALID_ARGUMENT when it is
// of another type. For T: bool, uint32_t, std::string.
template <typename T>
absl::StatusOr<T> OptionalField(const nlohmann::json& object, const char* key, T fallback);

}  // namespace peerage
