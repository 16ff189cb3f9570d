#include "model/tokenizer/strict_json.h"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "model/status_macros.h"
#include "model/tokenizer/text.h"

namespace peerage {

using nlohmann::json;

namespace {

constexpr size_t kMaxDepth = 32;

template <typename T>
bool Holds(const json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= std::numeric_limits<uint32_t>::max();
}

}  // namespace

absl::StatusOr<json> StrictJsonBuilder::ParseObject(std::string_view text, std::string_view file) {
  if (!json::sax_parse(text.begin(), text.end(), this)) {
    return absl::InvalidArgumentError(Concat(file, ": ", complaint_));
  }
  if (!root_.is_object()) return absl::InvalidArgumentError(Concat(file, " is not a JSON object"));
  return std::move(root_);
}

bool StrictJsonBuilder::key(string_t& key) {
  Level& level = open_.back();
  if (level.value->contains(key)) return Fail(Concat("key \"", key, "\" is repeated"));
  level.key = std::move(key);
  return true;
}

bool StrictJsonBuilder::parse_error(size_t position, const std::string&, const json::exception&) {
  return Fail(Concat("not valid JSON at byte ", position));
}

bool StrictJsonBuilder::Fail(std::string complaint) {
  complaint_ = std::move(complaint);
  return false;
}

bool StrictJsonBuilder::IsAt(std::string_view outer, std::string_view inner) const {
  return open_.size() == 2 && open_[0].key == outer && open_[1].key == inner;
}

bool StrictJsonBuilder::Add(json value) {
  if (open_.empty()) {
    root_ = std::move(value);
    added_ = &root_;
    return true;
  }
  auto& [parent, key] = open_.back();
  if (parent->is_array()) {
    parent->push_back(std::move(value));
    added_ = &parent->back();
  } else {
    added_ = &((*parent)[key] = std::move(value));
  }
  return true;
}

bool StrictJsonBuilder::Open(json container) {
  if (open_.size() >= kMaxDepth) return Fail("nested too deeply");
  Add(std::move(container));
  open_.push_back({added_, ""});
  return true;
}

bool StrictJsonBuilder::Close() {
  open_.pop_back();
  return true;
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
