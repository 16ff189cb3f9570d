#include "model/checkpoint/strict_json.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/error_text.h"

namespace peerage {
namespace {

using nlohmann::json;

// Builds the value from the parser's events and stops it at the first broken rule.
class JsonBuilder final : public nlohmann::json_sax<json> {
 public:
  explicit JsonBuilder(JsonLimits limits) : limits_(limits) {}

  const absl::Status& status() const { return status_; }
  json TakeRoot() { return std::move(root_); }

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return Fail("holds binary values"); }
  bool start_object(size_t) override { return Open(json::object()); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& key) override {
    if (open_.back()->contains(key)) return Fail(absl::StrCat("duplicate key ", Quoted(key)));
    key_ = std::move(key);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    return Fail(absl::StrCat("not valid JSON at byte ", position));
  }

 private:
  bool Fail(absl::string_view message) {
    status_ = absl::InvalidArgumentError(message);
    return false;
  }

  bool Add(json value) {
    if (++values_ > limits_.max_values) {
      return Fail(absl::StrCat("more than ", limits_.max_values, " JSON values"));
    }
    if (open_.empty()) {
      root_ = std::move(value);
      added_ = &root_;
    } else if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      added_ = &open_.back()->back();
    } else {
      added_ = &((*open_.back())[key_] = std::move(value));
    }
    return true;
  }

  bool Open(json container) {
    if (open_.size() >= static_cast<size_t>(limits_.max_depth)) {
      return Fail(absl::StrCat("JSON nested deeper than ", limits_.max_depth));
    }
    if (!Add(std::move(container))) return false;
    open_.push_back(added_);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  json root_;
  json* added_ = nullptr;
  std::vector<json*> open_;
  std::string key_;
  size_t values_ = 0;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<json> ParseStrictJson(absl::string_view text, JsonLimits limits) {
  // The parser below takes a NUL for the end of its input and skips a byte-order mark.
  if (absl::StrContains(text, '\0')) return absl::InvalidArgumentError("JSON with a NUL byte");
  if (absl::StartsWith(text, "\xef\xbb\xbf")) {
    return absl::InvalidArgumentError("JSON with a byte-order mark");
  }
  JsonBuilder builder(limits);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) return builder.status();
  return builder.TakeRoot();
}

}  // namespace peerage
