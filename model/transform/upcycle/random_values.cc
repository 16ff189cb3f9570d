#include "model/transform/upcycle/random_values.h"

#include <array>
#include <cmath>
#include <numbers>

#include "model/kernels/philox.h"

namespace peerage::transform {
namespace {

// FNV-1a, 64 bits.
uint64_t HashOf(absl::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

constexpr uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// Within (0, 1], in steps of 2^-53.
double UniformOf(uint32_t low, uint32_t high) {
  return static_cast<double>(((uint64_t{high} << 32 | low) >> 11) + 1) * 0x1p-53;
}

}  // namespace

RandomValues::RandomValues(uint64_t seed, absl::string_view tensor, double standard_deviation)
    : seed_(seed), tensor_(HashOf(tensor)), standard_deviation_(standard_deviation) {}

// Box and Muller: two independent uniform values make two independent normal ones.
void RandomValues::Fill(uint64_t first, absl::Span<float> values) const {
  for (size_t i = 0; i < values.size();) {
    const uint64_t pair = (first + i) / 2;
    const std::array<uint32_t, 4> bits =
        Philox({Low(pair), High(pair), Low(tensor_), High(tensor_)}, {Low(seed_), High(seed_)});
    const double radius =
        standard_deviation_ * std::sqrt(-2 * std::log(UniformOf(bits[0], bits[1])));
    const double angle = 2 * std::numbers::pi * UniformOf(bits[2], bits[3]);
    if ((first + i) % 2 == 0) values[i++] = static_cast<float>(radius * std::cos(angle));
    if (i < values.size()) values[i++] = static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace peerage::transform
