#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace peerage::transform {

// Normal random values with mean 0 that belong to places: value i of a tensor depends on the seed,
// the tensor's name and i, and on nothing that was asked for before.
class RandomValues {
 public:
  RandomValues(uint64_t seed, absl::string_view tensor, double standard_deviation);

  // Values first, first + 1, ...
  void Fill(uint64_t first, absl::Span<float> values) const;

 private:
  const uint64_t seed_;
  const uint64_t tensor_;
  const double standard_deviation_;
};

}  // namespace peerage::transform
