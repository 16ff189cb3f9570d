#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/choice.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "train/config/toml_value.h"

namespace peerage::train {

// Typed, range-checked reading of one table of a TOML file. An error names file, line and key, and
// what would be right. Remembers which keys were asked for, so that the others can be refused.
//
// Ownership: the value must outlive it, and hold a table.
class TomlTable {
 public:
  struct IntLimits {
    int64_t min = 0;
    int64_t max = 0;  // inclusive
  };
  // From `min` (`above`: beyond it) to `max`; never NaN or infinite.
  struct NumberLimits {
    double min = 0;
    double max = 0;
    bool above = false;
  };

  // `path` is what leads to the table ("optimizer."), empty for the whole file.
  TomlTable(std::string file, std::string path, const TomlValue& table);

  bool Has(absl::string_view key) const { return table_.count(std::string(key)) > 0; }

  // Without a fallback an absent key is an error.
  absl::StatusOr<int64_t> Int(absl::string_view key, IntLimits limits,
                              std::optional<int64_t> fallback = {});
  absl::StatusOr<double> Number(absl::string_view key, NumberLimits limits,
                                std::optional<double> fallback = {});
  absl::StatusOr<std::string> String(absl::string_view key,
                                     std::optional<std::string> fallback = {});
  // A string, or a list of strings; empty when absent.
  absl::StatusOr<std::vector<std::string>> Strings(absl::string_view key);
  // [key]; empty when absent.
  absl::StatusOr<TomlTable> Table(absl::string_view key);
  // [[key]], any number of them.
  absl::StatusOr<std::vector<TomlTable>> Tables(absl::string_view key);

  template <typename T, size_t kCount>
  absl::StatusOr<T> OneOf(absl::string_view key, const Choice<T> (&choices)[kCount], T fallback) {
    ASSIGN_OR_RETURN(const std::string name,
                     String(key, std::string(ChoiceName(choices, fallback))));
    if (const std::optional<T> value = FindChoice(choices, name)) return *value;
    return Error(key, absl::StrCat("is ", Quoted(name), ", not ", ChoiceNames(choices)));
  }

  // An error for the first key that nobody asked for.
  absl::Status RefuseUnread() const;

  // "run.toml:3: optimizer.betas TEXT".
  absl::Status Error(absl::string_view key, absl::string_view text) const;

 private:
  const TomlValue* Find(absl::string_view key);
  absl::Status WrongType(absl::string_view key, absl::string_view takes) const;

  std::string file_;
  std::string path_;
  int line_;
  const TomlValue::Table& table_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace peerage::train
