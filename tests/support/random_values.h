#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace peerage {

// Normally distributed around zero, the same for the same seed.
inline std::vector<float> RandomValues(size_t count, uint32_t seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace peerage
