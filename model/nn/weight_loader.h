#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/linear_layer.h"
#include "model/nn/storage.h"
#include "model/nn/weights_dtype.h"

namespace peerage::nn {

// Reads canonical tensors, one at a time, into the layouts that the kernels want. One tensor's
// stored bytes are held beside the packed weights while it is converted.
class WeightLoader {
 public:
  // `arena` has room for WeightBytes(checkpoint, dtype).
  WeightLoader(const Checkpoint& checkpoint, WeightsDtype dtype, kernels::ThreadPool& pool,
               Arena& arena)
      : checkpoint_(checkpoint), dtype_(dtype), pool_(pool), arena_(arena) {}

  // The named matrices side by side; neighbours of one format become one packed matrix.
  absl::StatusOr<LinearLayer> Linear(const std::vector<std::string>& names);

  // A vector as f32.
  absl::StatusOr<const float*> Vector(const std::string& name);

  // Packed bytes by format, to name the model's dtype.
  uint64_t bytes(kernels::WeightFormat format) const { return bytes_[static_cast<size_t>(format)]; }

 private:
  absl::StatusOr<const TensorInfo*> Read(const std::string& name);
  absl::Status PackInto(const kernels::PackedMatrix& matrix, int first_output,
                        const std::string& name);

  const Checkpoint& checkpoint_;
  const WeightsDtype dtype_;
  kernels::ThreadPool& pool_;
  Arena& arena_;
  std::vector<uint8_t> stored_;  // the tensor that was read last
  uint64_t bytes_[4] = {};
};

}  // namespace peerage::nn
