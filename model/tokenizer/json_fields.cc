#include "model/tokenizer/json_fields.h"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>

#include "model/tokenizer/text.h"

namespace peerage {

using nlohmann::json;

namespace {

template <typename T>
bool Holds(const json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= std::numeric_limits<uint32_t>::max();
}

}  // namespace

absl::StatusOr<json> ObjectOfFile(std::string_view file, absl::StatusOr<json> parsed) {
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(Concat(file, ": ", std::string(parsed.status().message())));
  }
  if (!parsed->is_object()) {
    return absl::InvalidArgumentError(Concat(file, " is not a JSON object"));
  }
  return parsed;
}

absl::Status CheckKeys(const json& object, std::string_view path,
                       std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return absl::UnimplementedError(Concat(path, ".", key, " is not supported"));
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<T> OptionalField(const json& object, const char* key, T fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!Holds<T>(*found)) {
    return absl::InvalidArgumentError(Concat("\"", key, "\" has the wrong type"));
  }
  return found->template get<T>();
}

template absl::StatusOr<bool> OptionalField(const json&, const char*, bool);
template absl::StatusOr<uint32_t> OptionalField(const json&, const char*, uint32_t);
template absl::StatusOr<std::string> OptionalField(const json&, const char*, std::string);

}  // namespace peerage
