#pragma once

#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <random>

namespace peerage {

// Choices of a test that its seed decides.
class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}

  uint64_t Bits() { return random_(); }
  int Between(int least, int most) {
    return least + static_cast<int>(random_() % static_cast<uint64_t>(most - least + 1));
  }
  bool OneIn(int count) { return Between(1, count) == 1; }
  template <typename T>
  T OneOf(std::initializer_list<T> values) {
    return *std::next(values.begin(), Between(0, static_cast<int>(values.size()) - 1));
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace peerage
