#include "base/strict_json.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"

namespace peerage {

using nlohmann::json;

absl::StatusOr<json> ParseStrictJson(absl::string_view text, JsonLimits limits) {
  return StrictJsonBuilder(limits).Parse(text);
}

absl::StatusOr<json> StrictJsonBuilder::Parse(absl::string_view text) {
  // The parser below takes a NUL for the end of its input and skips a byte-order mark.
  if (text.find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError("JSON with a NUL byte");
  }
  if (absl::StartsWith(text, "\xef\xbb\xbf")) {
    return absl::InvalidArgumentError("JSON with a byte-order mark");
  }
  if (!json::sax_parse(text.begin(), text.end(), this)) return status_;
  return std::move(root_);
}

bool StrictJsonBuilder::key(string_t& key) {
  Level& level = open_.back();
  if (level.value->contains(key)) return Fail(absl::StrCat("duplicate key ", Quoted(key)));
  level.key = std::move(key);
  return true;
}

bool StrictJsonBuilder::parse_error(size_t position, const std::string&, const json::exception&) {
  return Fail(absl::StrCat("not valid JSON at byte ", position));
}

bool StrictJsonBuilder::Fail(const std::string& message) {
  status_ = absl::InvalidArgumentError(message);
  return false;
}

bool StrictJsonBuilder::IsAt(absl::string_view outer, absl::string_view inner) const {
  return open_.size() == 2 && open_[0].key == outer && open_[1].key == inner;
}

bool StrictJsonBuilder::Add(json value) {
  if (++values_ > limits_.max_values) {
    return Fail(absl::StrCat("more than ", limits_.max_values, " JSON values"));
  }
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
  if (open_.size() >= static_cast<size_t>(limits_.max_depth)) {
    return Fail(absl::StrCat("JSON nested deeper than ", limits_.max_depth));
  }
  if (!Add(std::move(container))) return false;
  open_.push_back({added_, ""});
  return true;
}

bool StrictJsonBuilder::Close() {
  open_.pop_back();
  return true;
}

}  // namespace peerage
