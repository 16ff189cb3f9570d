#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/experts.h"
#include "model/nn/cuda/uploader.h"
#include "model/nn/cuda/weights.h"
#include "model/nn/load_options.h"

namespace peerage::nn::cuda {

// Rows of a stored tensor [rows, columns], the columns [first_column, first_column + columns) of
// each.
struct StoredRows {
  const TensorInfo* tensor = nullptr;
  int64_t first = 0;
  int64_t count = 0;
  int64_t first_column = 0;
  int64_t columns = 0;
};

// Reads canonical tensors, by way of f32, into the places on the device that a WeightPlacer has
// found for them. What is large is read in pieces of one buffer of the uploader. Errors name the
// tensor.
class WeightReader {
 public:
  // `progress` may be empty.
  WeightReader(const Checkpoint& checkpoint, Uploader& uploader, ProgressFunction progress);

  // The matrix is the rows of one slice behind those of the other.
  absl::Status Rows(const Matrix& matrix, absl::Span<const StoredRows> slices);
  // The matrix is the columns of one slice beside those of the other.
  absl::Status Columns(const Matrix& matrix, absl::Span<const StoredRows> slices);

  // A router's tensor of any number of dimensions, as rows from `first_output` on, each times its
  // scale ([rows], or empty: 1). NaN and infinity are an error here and in all that follows but
  // Values and Experts.
  absl::Status RouterRows(const Matrix& matrix, int first_output, const TensorInfo& tensor,
                          absl::Span<const float> scales);

  // The same with a batch norm folded into the matrix and into `bias` [outputs] on the device.
  struct BatchNorm {
    float epsilon = 0;
    const TensorInfo* weight = nullptr;
    const TensorInfo* bias = nullptr;
    const TensorInfo* mean = nullptr;
    const TensorInfo* variance = nullptr;
  };
  struct Fold {
    BatchNorm norm;
    const TensorInfo* bias_tensor = nullptr;  // of the matrix, or none
    const float* bias = nullptr;
  };
  absl::Status Folded(const Matrix& matrix, const TensorInfo& tensor, const Fold& fold);

  absl::Status FiniteArray(DeviceFloat type, const TensorInfo& tensor, const void* place);
  absl::Status Values(const TensorInfo& tensor, const float* place);

  absl::Status Experts(const kernels::ExpertTable& table,
                       absl::Span<const TensorInfo* const> vectors);

  // What is no tensor.
  absl::Status Bytes(absl::Span<const uint8_t> bytes, const void* place);

 private:
  absl::StatusOr<std::vector<float>> ReadValues(const TensorInfo& tensor);
  absl::StatusOr<std::vector<float>> FiniteValues(const TensorInfo& tensor);
  absl::Status Read(const TensorInfo& tensor, int64_t first, int64_t rows);
  absl::Status Send(DeviceFloat type, absl::Span<const float> values, void* place);
  void Advance(uint64_t stored_bytes);

  const Checkpoint& checkpoint_;
  Uploader& uploader_;
  const ProgressFunction progress_function_;
  LoadProgress progress_;
  std::vector<uint8_t> stored_;  // what was read last
  std::vector<float> values_;    // the same as f32
};

}  // namespace peerage::nn::cuda
