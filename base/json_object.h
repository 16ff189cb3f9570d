#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

struct IntRange {
  int64_t min = 0;
  int64_t max = 0;  // inclusive
};

// Above zero, also as a float, and at most `max`; so never NaN or infinite.
struct NumberRange {
  double max = 0;

  bool Contains(double number) const {
    return number > 0 && number <= max && static_cast<float>(number) > 0;
  }
};

// What stands for keys that a text leaves out, by their paths.
using DefaultValues = std::map<std::string, std::string>;

// Typed, range-checked reading of one JSON object. A key whose value is null counts as absent.
// Errors name the key with its path ("layers[15].ffn[1].kind"). Remembers which keys were asked
// for, so that the others can be refused or listed, and which fallbacks were taken.
//
// Ownership: the JSON value must outlive it.
class JsonObject {
 public:
  // `path` is what leads to this object; empty for the whole text.
  static absl::StatusOr<JsonObject> Of(const nlohmann::json& value, std::string path);

  // An object inside this one, which notes its fallbacks with those of this one.
  absl::StatusOr<JsonObject> Inner(const nlohmann::json& value, std::string path) const;

  // Precondition: the value is an object.
  JsonObject(const nlohmann::json& value, std::string path);

  // The value of a key, whatever its type; nullptr when absent.
  const nlohmann::json* Find(absl::string_view key);

  // Without a fallback an absent key is an error.
  absl::StatusOr<int> Int(absl::string_view key, IntRange range, std::optional<int> fallback = {});
  absl::StatusOr<int64_t> Int64(absl::string_view key, IntRange range);
  absl::StatusOr<float> Number(absl::string_view key, NumberRange range, float fallback);
  absl::StatusOr<bool> Bool(absl::string_view key, bool fallback);
  absl::StatusOr<std::string> String(absl::string_view key,
                                     std::optional<std::string> fallback = {});
  // An integer or a list of integers, each in the range; empty when absent.
  absl::StatusOr<std::vector<int>> Ints(absl::string_view key, IntRange range);

  // A key that may be left out, without a range: any other type is an error that names the key
  // alone. T: bool, uint32_t or std::string.
  template <typename T>
  absl::StatusOr<T> Optional(absl::string_view key, T fallback);

  // Says that `value` stands for a key. Int, Number, Bool and String say so of their fallbacks.
  void NoteDefault(absl::string_view key, std::string value);
  // Of the whole text: of this object, and of those it is inside of or that are inside of it.
  const DefaultValues& defaults() const { return *defaults_; }

  // An error that begins with the key's path.
  absl::Status Error(absl::string_view key, absl::string_view message) const;
  std::string PathOf(absl::string_view key) const;

  // Paths of the keys that nobody asked for, in the order of their names.
  std::vector<std::string> UnreadKeys() const;
  // An error that names the first of them.
  absl::Status RefuseUnreadKeys() const;
  // UNIMPLEMENTED for the first key that is none of these: files of others, which may ask for more
  // than we do.
  absl::Status CheckKeys(std::initializer_list<absl::string_view> known) const;

 private:
  const nlohmann::json* value_;
  std::string path_;
  std::set<std::string, std::less<>> read_;
  std::shared_ptr<DefaultValues> defaults_;
};

// What a file's text was parsed to: an error that names the file unless that is an object.
absl::StatusOr<nlohmann::json> ObjectOfFile(absl::string_view file,
                                            absl::StatusOr<nlohmann::json> parsed);

}  // namespace peerage
