#include "base/command_line/options.h"

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error_text.h"

namespace peerage {
namespace {

// "--seed" of "-s,--seed".
std::string LongName(const std::string& names) {
  const std::vector<std::string> all = absl::StrSplit(names, ',');
  return all.back();
}

template <typename T>
std::string WhatItTakes(NumberRangeOf<T> range) {
  if constexpr (std::is_floating_point_v<T>) {
    if (range.most == std::numeric_limits<T>::max()) return "a number";
    return absl::StrCat("a number from ", range.least, " to ", range.most);
  } else {
    return absl::StrCat("a whole number from ", range.least, " to ", range.most);
  }
}

bool Read(absl::string_view text, float& number) {
  return absl::SimpleAtof(text, &number) && std::isfinite(number);
}

bool Read(absl::string_view text, double& number) {
  return absl::SimpleAtod(text, &number) && std::isfinite(number);
}

template <typename T>
bool Read(absl::string_view text, T& number) {
  return absl::SimpleAtoi(text, &number);
}

}  // namespace

CLI::Option* AddOptionalFlag(CLI::App& app, const std::string& names, std::optional<bool>& value,
                             const std::string& description) {
  return app.add_flag_function(
      names,
      [&value, names](int64_t sum) {
        if (sum == 0) {
          throw CLI::ValidationError(absl::StrCat(
              absl::StrJoin(absl::StrSplit(names, ",!"), " and "), " exclude each other"));
        }
        value = sum > 0;
      },
      description);
}

template <typename T>
absl::StatusOr<T> ParseNumber(absl::string_view name, absl::string_view text,
                              NumberRangeOf<T> range) {
  T number{};
  // absl reads surrounding blanks, too.
  const bool exact = !text.empty() && text.find_first_of(" \t\n\r\v\f") == text.npos;
  if (exact && Read(text, number) && number >= range.least && number <= range.most) return number;
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", Quoted(text), ", not ", WhatItTakes(range)));
}

template <typename T>
CLI::Option* AddOptionalNumber(CLI::App& app, const std::string& names, std::optional<T>& value,
                               const std::string& description, NumberRangeOf<T> range) {
  const auto read = [&value, name = LongName(names), range](const std::string& text) {
    const absl::StatusOr<T> number = ParseNumber<T>(name, text, range);
    if (!number.ok()) throw CLI::ValidationError(std::string(number.status().message()));
    value = *number;
  };
  return app.add_option_function<std::string>(names, read, description)->type_name("N");
}

CLI::Option* AddNumberOrAlone(CLI::App& app, const std::string& names,
                              std::optional<uint32_t>& value, uint32_t alone,
                              const std::string& description, NumberRangeOf<uint32_t> range) {
  const auto read = [&value, alone, name = LongName(names), range](const std::string& text) {
    // What CLI11 gives in place of a value that was left out.
    if (text.empty()) {
      value = alone;
      return;
    }
    const absl::StatusOr<uint32_t> number = ParseNumber<uint32_t>(name, text, range);
    if (!number.ok()) throw CLI::ValidationError(std::string(number.status().message()));
    value = *number;
  };
  return app.add_option_function<std::string>(names, read, description)
      ->type_name("N")
      ->expected(0, 1);
}

template absl::StatusOr<uint32_t> ParseNumber(absl::string_view, absl::string_view,
                                              NumberRangeOf<uint32_t>);
template absl::StatusOr<double> ParseNumber(absl::string_view, absl::string_view,
                                            NumberRangeOf<double>);
template CLI::Option* AddOptionalNumber(CLI::App&, const std::string&, std::optional<uint32_t>&,
                                        const std::string&, NumberRangeOf<uint32_t>);
template CLI::Option* AddOptionalNumber(CLI::App&, const std::string&, std::optional<uint64_t>&,
                                        const std::string&, NumberRangeOf<uint64_t>);
template CLI::Option* AddOptionalNumber(CLI::App&, const std::string&, std::optional<int32_t>&,
                                        const std::string&, NumberRangeOf<int32_t>);
template CLI::Option* AddOptionalNumber(CLI::App&, const std::string&, std::optional<float>&,
                                        const std::string&, NumberRangeOf<float>);
template CLI::Option* AddOptionalNumber(CLI::App&, const std::string&, std::optional<double>&,
                                        const std::string&, NumberRangeOf<double>);

CLI::Option* AddWord(CLI::App& app, const std::string& names, std::string& value,
                     const std::string& words, const std::string& description) {
  const auto choose = [&value, words, name = LongName(names)](const std::string& given) {
    const std::vector<std::string> all = absl::StrSplit(words, '|');
    if (std::find(all.begin(), all.end(), given) == all.end()) {
      throw CLI::ValidationError(
          absl::StrCat(name, " is ", Quoted(given), ", not one of ", absl::StrJoin(all, ", ")));
    }
    value = given;
  };
  return app.add_option_function<std::string>(names, choose, description)->type_name(words);
}

}  // namespace peerage
