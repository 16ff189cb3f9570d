#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/nn/cpu/weight_placer.h"
#include "tests/support/layer_bench.h"
#include "tests/support/tensor_checkpoint.h"

namespace peerage::nn::cpu {

using FloatRow = std::vector<float>;

// A checkpoint, and what a placer makes of it.
class WeightPlacerTest : public testing::Test {
 protected:
  template <typename Place>
  auto Load(const Place& place, LoadOptions options = {}) {
    benches_.push_back(std::make_unique<LayerBench>(checkpoint_, std::move(options)));
    return benches_.back()->Load(place);
  }
  LinearLayer LoadLinear(const MatrixSource& source, LoadOptions options = {}) {
    return Load([&](WeightPlacer& placer) { return placer.Linear(source); }, std::move(options));
  }

  static FloatRow Row(const kernels::PackedMatrix& matrix, int row) {
    FloatRow values(matrix.depth);
    kernels::UnpackRow(matrix, row, values.data());
    return values;
  }
  // Columns [first, first + count) of a row of a stored tensor.
  FloatRow Stored(const std::string& name, int64_t row, int64_t first, int64_t count) const {
    const FloatRow values = checkpoint_.values(name);
    const auto begin = values.begin() + row * checkpoint_.Find(name)->shape.back() + first;
    return {begin, begin + count};
  }
  FloatRow Stored(const std::string& name, int64_t row) const {
    return Stored(name, row, 0, checkpoint_.Find(name)->shape.back());
  }

  TensorCheckpoint checkpoint_;
  std::vector<std::unique_ptr<LayerBench>> benches_;
};

}  // namespace peerage::nn::cpu
