#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

struct JsonLimits {
  int max_depth = 32;
  size_t max_values = 1'000'000;  // objects, arrays and scalars together
};

// Parses one JSON text (RFC 8259), more strictly than most: a duplicate key, a NUL byte, a
// byte-order mark, invalid UTF-8, or anything after the value is INVALID_ARGUMENT. Numbers keep
// their kind, so `1`, `1.0`, `1e0` and `-0` stay distinguishable.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text, JsonLimits limits = {});

// Builds the value of a text by those rules from the parser's events, and stops at the first broken
// one. A subclass may keep events to itself, such as those of a list too long for JSON values: it
// then checks them by itself. For one text.
class StrictJsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit StrictJsonBuilder(JsonLimits limits = {}) : limits_(limits) {}

  absl::StatusOr<nlohmann::json> Parse(absl::string_view text);

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
  // Ends the parse with INVALID_ARGUMENT.
  bool Fail(const std::string& message);

  // Whether the value that comes next is root[outer][inner].
  bool IsAt(absl::string_view outer, absl::string_view inner) const;

 private:
  // A container that is not closed yet; `key` is the last one read in an object.
  struct Level {
    nlohmann::json* value;
    std::string key;
  };

  bool Add(nlohmann::json value);
  bool Open(nlohmann::json container);
  bool Close();

  const JsonLimits limits_;
  nlohmann::json root_;
  nlohmann::json* added_ = nullptr;
  std::vector<Level> open_;
  size_t values_ = 0;
  absl::Status status_;
};

}  // namespace peerage
