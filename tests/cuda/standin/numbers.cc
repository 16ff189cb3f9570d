#include "numbers.h"

#include <algorithm>

namespace ptx {
namespace {

// `q`, which is not negative, to an integer; `negative` is the sign of the whole number.
long double RoundToInteger(long double q, Rounding rounding, bool negative) {
  const long double low = std::floor(q), rest = q - low;
  bool up = false;
  switch (rounding) {
    case Rounding::kNearest:
      up = rest > 0.5L || (rest == 0.5L && std::fmod(low, 2.0L) != 0);
      break;
    case Rounding::kAway:
      up = rest >= 0.5L;
      break;
    case Rounding::kZero:
      break;
    case Rounding::kDown:
      up = negative && rest > 0;
      break;
    case Rounding::kUp:
      up = !negative && rest > 0;
  }
  return up ? low + 1 : low;
}

}  // namespace

u32 Encode(long double x, const Format& format, Rounding rounding, bool saturate) {
  if (x != x) return format.nan;
  const bool negative = std::signbit(x);
  const u32 sign = negative ? format.sign() : 0;
  const long double magnitude = std::fabs(x);
  const u32 infinity = format.has_infinity ? format.max + 1 : format.nan;
  if (std::isinf(magnitude)) return sign | (saturate ? format.max : infinity);
  if (magnitude == 0) return sign;
  const int exponent = std::max(std::ilogb(magnitude), format.least_exponent());
  // The last digit of the result is a unit of q.
  const long double q =
      RoundToInteger(std::ldexp(magnitude, format.mantissa_bits - exponent), rounding, negative);
  const u64 bits = (static_cast<u64>(exponent - format.least_exponent()) << format.mantissa_bits) +
                   static_cast<u64>(q);
  if (bits <= format.max) return sign | static_cast<u32>(bits);
  const bool towards_zero = rounding == Rounding::kZero ||
                            (rounding == Rounding::kDown && !negative) ||
                            (rounding == Rounding::kUp && negative);
  return sign | (saturate || towards_zero ? format.max : infinity);
}

double Decode(u32 bits, const Format& format) {
  const u32 magnitude = bits & (format.sign() - 1);
  const double sign = (bits & format.sign()) != 0 ? -1 : 1;
  if (magnitude > format.max) {
    const bool infinite = format.has_infinity && magnitude == format.max + 1;
    return infinite ? sign * std::numeric_limits<double>::infinity()
                    : std::numeric_limits<double>::quiet_NaN();
  }
  const u32 mantissa = magnitude & ((1u << format.mantissa_bits) - 1);
  const u32 exponent = magnitude >> format.mantissa_bits;
  const u32 digits = exponent == 0 ? mantissa : mantissa | 1u << format.mantissa_bits;
  const int scale =
      static_cast<int>(std::max(exponent, 1u)) - 1 + format.least_exponent() - format.mantissa_bits;
  return sign * std::ldexp(static_cast<double>(digits), scale);
}

}  // namespace ptx
