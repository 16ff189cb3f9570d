#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace peerage {

// Builds the value of a JSON text from the parser's events and stops at the first broken rule: a
// key that an object repeats, or nesting deeper than 32. A subclass may keep events to itself.
class StrictJsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  // INVALID_ARGUMENT, naming `file`, for what is not one JSON object by these rules.
  absl::StatusOr<nlohmann::json> ParseObject(std::string_view text, std::string_view file);

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return Fail("holds binary values"); }
  bool start_object(size_t) override { return Open(nlohmann::json::object()); }
  bool start_array(size_t) override { return Open(nlohmann::json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& key) override;
  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::json::exception& error) override;

 protected:
  bool Fail(std::string complaint);

  // Whether the value that comes next is root[outer][inner].
  bool IsAt(std::string_view outer, std::string_view inner) const;

 private:
  // A container that is not closed yet; `key` is the last one read in an object.
  struct Level {
    nlohmann::json* value;
    std::string key;
  };

  bool Add(nlohmann::json value);
  bool Open(nlohmann::json container);
  bool Close();

  nlohmann::json root_;
  nlohmann::json* added_ = nullptr;
  std::vector<Level> open_;
  std::string complaint_;
};

// UNIMPLEMENTED, naming the key, when `object` (at `path`) has one that is not in `known`.
absl::Status CheckKeys(const nlohmann::json& object, std::string_view path,
                       std::initializer_list<std::string_view> known);

// The value of an optional key: `fallback` when it is absent or null, INVALID_ARGUMENT when it is
// of another type. For T: bool, uint32_t, std::string.
template <typename T>
absl::StatusOr<T> OptionalField(const nlohmann::json& object, const char* key, T fallback);

}  // namespace peerage
