#include "train/config/toml_value.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage::train {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 20;

absl::Status ErrorAt(const std::string& path, const toml::source_region& source,
                     absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(path, ":", source.begin.line, ": ", text));
}

absl::StatusOr<TomlValue> Convert(const std::string& path, const toml::node& node) {
  TomlValue result{.line = static_cast<int>(node.source().begin.line), .value = false};
  switch (node.type()) {
    case toml::node_type::boolean:
      result.value = node.as_boolean()->get();
      return result;
    case toml::node_type::integer:
      result.value = node.as_integer()->get();
      return result;
    case toml::node_type::floating_point:
      result.value = node.as_floating_point()->get();
      return result;
    case toml::node_type::string:
      result.value = node.as_string()->get();
      return result;
    case toml::node_type::array: {
      TomlValue::Array array;
      for (const toml::node& element : *node.as_array()) {
        ASSIGN_OR_RETURN(TomlValue value, Convert(path, element));
        array.push_back(std::move(value));
      }
      result.value = std::move(array);
      return result;
    }
    case toml::node_type::table: {
      TomlValue::Table table;
      for (const auto& [key, element] : *node.as_table()) {
        ASSIGN_OR_RETURN(TomlValue value, Convert(path, element));
        table.emplace(std::string(key.str()), std::move(value));
      }
      result.value = std::move(table);
      return result;
    }
    default:
      return ErrorAt(path, node.source(), "holds a date or a time, which no key here takes");
  }
}

}  // namespace

absl::StatusOr<TomlValue> ReadTomlFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxFileBytes));
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return ErrorAt(path, parsed.error().source(), std::string(parsed.error().description()));
  }
  return Convert(path, parsed.table());
}

}  // namespace peerage::train
