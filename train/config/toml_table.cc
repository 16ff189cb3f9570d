#include "train/config/toml_table.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/command_line/nearest_name.h"

namespace peerage::train {
namespace {

const TomlValue kEmptyTable{.line = 0, .value = TomlValue::Table()};

std::string Described(const TomlValue& value) {
  struct Describe {
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(int64_t value) const { return absl::StrCat(value); }
    std::string operator()(double value) const { return absl::StrCat(value); }
    std::string operator()(const std::string& value) const { return Quoted(value); }
    std::string operator()(const TomlValue::Array&) const { return "a list"; }
    std::string operator()(const TomlValue::Table&) const { return "a table"; }
  };
  return std::visit(Describe(), value.value);
}

}  // namespace

TomlTable::TomlTable(std::string file, std::string path, const TomlValue& table)
    : file_(std::move(file)),
      path_(std::move(path)),
      line_(table.line),
      table_(std::get<TomlValue::Table>(table.value)) {}

const TomlValue* TomlTable::Find(absl::string_view key) {
  read_.emplace(key);
  const auto found = table_.find(std::string(key));
  return found == table_.end() ? nullptr : &found->second;
}

absl::Status TomlTable::Error(absl::string_view key, absl::string_view text) const {
  const auto found = table_.find(std::string(key));
  const int line = found == table_.end() ? line_ : found->second.line;
  const std::string place = line > 0 ? absl::StrCat(file_, ":", line) : file_;
  return absl::InvalidArgumentError(absl::StrCat(place, ": ", path_, key, " ", text));
}

absl::Status TomlTable::WrongType(absl::string_view key, absl::string_view takes) const {
  return Error(key,
               absl::StrCat("is ", Described(table_.at(std::string(key))), "; it takes ", takes));
}

absl::StatusOr<int64_t> TomlTable::Int(absl::string_view key, IntLimits limits,
                                       std::optional<int64_t> fallback) {
  const std::string takes = absl::StrCat("an integer within ", limits.min, "..", limits.max);
  const TomlValue* value = Find(key);
  if (value == nullptr) {
    if (fallback.has_value()) return *fallback;
    return Error(key, absl::StrCat("is missing; it takes ", takes));
  }
  const int64_t* integer = std::get_if<int64_t>(&value->value);
  if (integer == nullptr || *integer < limits.min || *integer > limits.max) {
    return WrongType(key, takes);
  }
  return *integer;
}

absl::StatusOr<double> TomlTable::Number(absl::string_view key, NumberLimits limits,
                                         std::optional<double> fallback) {
  const std::string takes =
      absl::StrCat("a number ", limits.above ? "above " : "from ", limits.min, " to ", limits.max);
  const TomlValue* value = Find(key);
  if (value == nullptr) {
    if (fallback.has_value()) return *fallback;
    return Error(key, absl::StrCat("is missing; it takes ", takes));
  }
  double number = std::nan("");
  if (const auto* integer = std::get_if<int64_t>(&value->value)) {
    number = static_cast<double>(*integer);
  } else if (const auto* real = std::get_if<double>(&value->value)) {
    number = *real;
  }
  const bool enough = limits.above ? number > limits.min : number >= limits.min;
  if (!enough || !(number <= limits.max)) return WrongType(key, takes);
  return number;
}

absl::StatusOr<std::string> TomlTable::String(absl::string_view key,
                                              std::optional<std::string> fallback) {
  const TomlValue* value = Find(key);
  if (value == nullptr) {
    if (fallback.has_value()) return *std::move(fallback);
    return Error(key, "is missing; it takes a string");
  }
  const std::string* text = std::get_if<std::string>(&value->value);
  if (text == nullptr) return WrongType(key, "a string");
  if (text->empty()) return Error(key, "is empty");
  return *text;
}

absl::StatusOr<std::vector<std::string>> TomlTable::Strings(absl::string_view key) {
  const TomlValue* value = Find(key);
  if (value == nullptr) return std::vector<std::string>();
  if (const auto* text = std::get_if<std::string>(&value->value)) return std::vector{*text};
  const auto* array = std::get_if<TomlValue::Array>(&value->value);
  if (array == nullptr) return WrongType(key, "a string or a list of strings");
  std::vector<std::string> texts;
  for (const TomlValue& element : *array) {
    const auto* text = std::get_if<std::string>(&element.value);
    if (text == nullptr)
      return Error(key, absl::StrCat("holds ", Described(element), "; it takes a list of strings"));
    texts.push_back(*text);
  }
  return texts;
}

absl::StatusOr<TomlTable> TomlTable::Table(absl::string_view key) {
  const TomlValue* value = Find(key);
  const std::string path = absl::StrCat(path_, key, ".");
  if (value == nullptr) return TomlTable(file_, path, kEmptyTable);
  if (!std::holds_alternative<TomlValue::Table>(value->value)) {
    return WrongType(key, absl::StrCat("a table: [", path_, key, "]"));
  }
  return TomlTable(file_, path, *value);
}

absl::StatusOr<std::vector<TomlTable>> TomlTable::Tables(absl::string_view key) {
  std::vector<TomlTable> tables;
  const TomlValue* value = Find(key);
  if (value == nullptr) return tables;
  const std::string takes = absl::StrCat("tables: [[", path_, key, "]]");
  const auto* array = std::get_if<TomlValue::Array>(&value->value);
  if (array == nullptr) return WrongType(key, takes);
  for (const TomlValue& element : *array) {
    if (!std::holds_alternative<TomlValue::Table>(element.value)) return WrongType(key, takes);
    tables.emplace_back(file_, absl::StrCat(path_, key, "[", tables.size(), "]."), element);
  }
  return tables;
}

absl::Status TomlTable::RefuseUnread() const {
  for (const auto& [key, value] : table_) {
    if (read_.count(key) > 0) continue;
    const std::vector<std::string> known(read_.begin(), read_.end());
    return Error(key, absl::StrCat("is not a known key", DidYouMean(key, known)));
  }
  return absl::OkStatus();
}

}  // namespace peerage::train
