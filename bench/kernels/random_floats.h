#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace peerage {

// Standard normal, the same in every run.
inline std::vector<float> RandomFloats(size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> floats(n);
  for (float& x : floats) x = normal(random);
  return floats;
}

}  // namespace peerage
