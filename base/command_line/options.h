#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Options that may be left out: what was not given stays std::nullopt, so that whoever receives the
// value can tell it from one that was. CLI11's own binding of such variables does not: of a flag it
// makes false, and of a number it takes "" for 0 and -1 for 2^64 - 1.
//
// Ownership: the variable must outlive the app.

// A flag and its opposite: names "--bos,!--no-bos". Both at once are refused.
CLI::Option* AddOptionalFlag(CLI::App& app, const std::string& names, std::optional<bool>& value,
                             const std::string& description);

// A number in digits, in the whole range of T unless a least and a most are given. Anything else is
// refused in one line that names the option and says what it takes.
// T: uint32_t, uint64_t, int32_t, float, double.
template <typename T>
struct NumberRangeOf {
  T least = std::numeric_limits<T>::lowest();
  T most = std::numeric_limits<T>::max();
};

template <typename T>
CLI::Option* AddOptionalNumber(CLI::App& app, const std::string& names, std::optional<T>& value,
                               const std::string& description, NumberRangeOf<T> range = {});

// The same where the number may be left out: the option alone stands for `alone`.
CLI::Option* AddNumberOrAlone(CLI::App& app, const std::string& names,
                              std::optional<uint32_t>& value, uint32_t alone,
                              const std::string& description, NumberRangeOf<uint32_t> range);

// The number that the text is, as AddOptionalNumber reads it. INVALID_ARGUMENT says what `name`
// takes.
template <typename T>
absl::StatusOr<T> ParseNumber(absl::string_view name, absl::string_view text,
                              NumberRangeOf<T> range = {});

// One of a few words, which --help and completion show: words "recent|total".
CLI::Option* AddWord(CLI::App& app, const std::string& names, std::string& value,
                     const std::string& words, const std::string& description);

}  // namespace peerage
