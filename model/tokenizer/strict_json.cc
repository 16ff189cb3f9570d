#include "model/tokenizer/strict_json.h"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "model/status_macros.h"
#include "model/tokenizer/text.h"

namespace peerage {

using nlohmann::json;

namespace {

constexpr int kMaxDepth = 32;

// Watches the parser, which itself would keep the last of repeated keys.
class Watcher {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (!complaint_.empty()) return false;  // drops the value: a hostile text builds nothing more
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) Complain(Concat("key \"", key, "\" is repeated"));
    }
    if (depth > kMaxDepth) Complain("nested too deeply");
    return complaint_.empty();
  }

  const std::string& complaint() const { return complaint_; }

 private:
  void Complain(std::string complaint) {
    if (complaint_.empty()) complaint_ = std::move(complaint);
  }

  std::vector<absl::flat_hash_set<std::string>> keys_;  // of the objects that are open
  std::string complaint_;
};

template <typename T>
bool Holds(const json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= std::numeric_limits<uint32_t>::max();
}

}  // namespace

absl::StatusOr<json> ParseJsonObject(std::string_view text, std::string_view file) {
  Watcher watcher;
  json parsed = json::parse(
      text.begin(), text.end(),
      [&watcher](int depth, json::parse_event_t event, json& value) {
        return watcher(depth, event, value);
      },
      /*allow_exceptions=*/false);
  if (!watcher.complaint().empty()) {
    return absl::InvalidArgumentError(Concat(file, ": ", watcher.complaint()));
  }
  if (!parsed.is_object()) {
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
