#include "base/json_object.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error_text.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

using nlohmann::json;

// nullopt for anything but a plain integer of 64 signed bits.
std::optional<int64_t> AsInteger(const json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
    return std::numeric_limits<int64_t>::max();
  }
  return value.get<int64_t>();
}

template <typename T>
bool Holds(const json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= std::numeric_limits<uint32_t>::max();
}

}  // namespace

JsonObject::JsonObject(const json& value, std::string path)
    : value_(&value), path_(std::move(path)), defaults_(std::make_shared<DefaultValues>()) {}

absl::StatusOr<JsonObject> JsonObject::Of(const json& value, std::string path) {
  if (!value.is_object()) {
    return At(path, absl::InvalidArgumentError("is not a JSON object"));
  }
  return JsonObject(value, std::move(path));
}

absl::StatusOr<JsonObject> JsonObject::Inner(const json& value, std::string path) const {
  ASSIGN_OR_RETURN(JsonObject inner, Of(value, std::move(path)));
  inner.defaults_ = defaults_;
  return inner;
}

void JsonObject::NoteDefault(absl::string_view key, std::string value) {
  (*defaults_)[PathOf(key)] = std::move(value);
}

const json* JsonObject::Find(absl::string_view key) {
  read_.emplace(key);
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<int> JsonObject::Int(absl::string_view key, IntRange range,
                                    std::optional<int> fallback) {
  if (fallback.has_value() && Find(key) == nullptr) {
    NoteDefault(key, absl::StrCat(*fallback));
    return *fallback;
  }
  ASSIGN_OR_RETURN(const int64_t integer, Int64(key, range));
  return static_cast<int>(integer);
}

absl::StatusOr<int64_t> JsonObject::Int64(absl::string_view key, IntRange range) {
  const json* value = Find(key);
  if (value == nullptr) return Error(key, "is missing");
  const std::optional<int64_t> integer = AsInteger(*value);
  if (!integer.has_value()) return Error(key, "is not an integer");
  if (*integer < range.min || *integer > range.max) {
    return Error(key, absl::StrCat("is ", *integer, ", not within ", range.min, "..", range.max));
  }
  return *integer;
}

absl::StatusOr<float> JsonObject::Number(absl::string_view key, NumberRange range, float fallback) {
  const json* value = Find(key);
  if (value == nullptr) {
    NoteDefault(key, absl::StrCat(fallback));
    return fallback;
  }
  if (!value->is_number()) return Error(key, "is not a number");
  const double number = value->get<double>();
  if (!range.Contains(number)) {
    return Error(key, absl::StrCat("is ", number, ", not above 0 and at most ", range.max));
  }
  return static_cast<float>(number);
}

absl::StatusOr<bool> JsonObject::Bool(absl::string_view key, bool fallback) {
  const json* value = Find(key);
  if (value == nullptr) {
    NoteDefault(key, fallback ? "true" : "false");
    return fallback;
  }
  if (!value->is_boolean()) return Error(key, "is neither true nor false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonObject::String(absl::string_view key,
                                               std::optional<std::string> fallback) {
  const json* value = Find(key);
  if (value == nullptr) {
    if (!fallback.has_value()) return Error(key, "is missing");
    NoteDefault(key, *fallback);
    return *std::move(fallback);
  }
  if (!value->is_string()) return Error(key, "is not a string");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<int>> JsonObject::Ints(absl::string_view key, IntRange range) {
  const json* value = Find(key);
  if (value == nullptr) return std::vector<int>();
  const json list = value->is_array() ? *value : json::array({*value});
  std::vector<int> integers;
  for (const json& element : list) {
    const std::optional<int64_t> integer = AsInteger(element);
    if (!integer.has_value()) return Error(key, "is neither an integer nor a list of integers");
    if (*integer < range.min || *integer > range.max) {
      return Error(key,
                   absl::StrCat("has ", *integer, ", not within ", range.min, "..", range.max));
    }
    integers.push_back(static_cast<int>(*integer));
  }
  return integers;
}

template <typename T>
absl::StatusOr<T> JsonObject::Optional(absl::string_view key, T fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!Holds<T>(*value)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" has the wrong type"));
  }
  return value->get<T>();
}

template absl::StatusOr<bool> JsonObject::Optional(absl::string_view, bool);
template absl::StatusOr<uint32_t> JsonObject::Optional(absl::string_view, uint32_t);
template absl::StatusOr<std::string> JsonObject::Optional(absl::string_view, std::string);

absl::Status JsonObject::Error(absl::string_view key, absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(PathOf(key), " ", message));
}

std::string JsonObject::PathOf(absl::string_view key) const {
  return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
}

std::vector<std::string> JsonObject::UnreadKeys() const {
  std::vector<std::string> unread;
  for (const auto& [key, value] : value_->items()) {
    if (!read_.contains(key)) unread.push_back(PathOf(absl::Utf8SafeCHexEscape(key)));
  }
  return unread;
}

absl::Status JsonObject::RefuseUnreadKeys() const {
  const std::vector<std::string> unread = UnreadKeys();
  if (unread.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(unread.front(), " is not a known key"));
}

absl::Status JsonObject::CheckKeys(std::initializer_list<absl::string_view> known) const {
  for (const auto& [key, value] : value_->items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return absl::UnimplementedError(
          absl::StrCat(PathOf(absl::Utf8SafeCHexEscape(key)), " is not supported (",
                       absl::StrJoin(known, ", "), known.size() == 1 ? " is)" : " are)"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<json> ObjectOfFile(absl::string_view file, absl::StatusOr<json> parsed) {
  if (!parsed.ok()) return At(file, std::move(parsed));
  if (!parsed->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(file, " is not a JSON object"));
  }
  return parsed;
}

}  // namespace peerage
