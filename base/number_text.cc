#include "base/number_text.h"

#include <charconv>
#include <cstddef>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace peerage {
namespace {

struct Unit {
  double size;
  const char* name;
};

// In the largest unit that `value` reaches; whole numbers below the first.
template <size_t N>
std::string Scaled(uint64_t value, const Unit (&units)[N], const char* plain) {
  for (const Unit& unit : units) {
    if (static_cast<double>(value) >= unit.size) {
      return absl::StrFormat("%.1f%s", static_cast<double>(value) / unit.size, unit.name);
    }
  }
  return absl::StrCat(value, plain);
}

}  // namespace

std::string FormatBytes(uint64_t bytes) {
  static constexpr Unit kUnits[] = {
      {1ull << 40, " TiB"}, {1ull << 30, " GiB"}, {1ull << 20, " MiB"}, {1ull << 10, " KiB"}};
  return Scaled(bytes, kUnits, " B");
}

std::string FormatCount(uint64_t count) {
  static constexpr Unit kUnits[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
  return Scaled(count, kUnits, "");
}

std::string FormatWhole(uint64_t count) {
  std::string digits = absl::StrCat(count);
  for (size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

double ShortestDecimal(float value) {
  char text[32];
  const auto [end, error] = std::to_chars(std::begin(text), std::end(text), value);
  double decimal = value;
  if (!absl::SimpleAtod(absl::string_view(text, end - text), &decimal)) return value;
  return decimal;
}

}  // namespace peerage
