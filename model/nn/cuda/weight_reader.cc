#include "model/nn/cuda/weight_reader.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/kernels/stored_block.h"
#include "model/nn/conversions.h"
#include "model/nn/router_values.h"

namespace peerage::nn::cuda {
namespace {

// What a placer has found a place for is const to everybody else.
uint8_t* Writable(const void* place) {
  return const_cast<uint8_t*>(static_cast<const uint8_t*>(place));
}

TensorType StoredTypeOf(DeviceFloat type) {
  return type == DeviceFloat::kF32 ? TensorType::kF32 : TensorType::kBF16;
}

int64_t RowsAtOnce(size_t row_bytes) {
  return std::max<int64_t>(
      1, static_cast<int64_t>(Uploader::kBufferBytes / std::max<size_t>(row_bytes, 1)));
}

// For error texts: tensor "a", or tensor "a", "b" where their values lie side by side.
std::string Named(absl::Span<const StoredRows> slices) {
  std::set<std::string> names;
  for (const StoredRows& slice : slices) names.insert(Quoted(slice.tensor->name));
  return absl::StrCat("tensor ", absl::StrJoin(names, ", "));
}

}  // namespace

WeightReader::WeightReader(const Checkpoint& checkpoint, Uploader& uploader,
                           ProgressFunction progress)
    : checkpoint_(checkpoint), uploader_(uploader), progress_function_(std::move(progress)) {
  for (const TensorInfo& tensor : checkpoint.tensors()) progress_.total += tensor.bytes;
}

absl::Status WeightReader::Rows(const Matrix& matrix, absl::Span<const StoredRows> slices) {
  const size_t row_bytes = size_t(matrix.depth) * kernels::cuda::BytesOf(matrix.type);
  const int64_t at_once = RowsAtOnce(size_t(matrix.depth) * sizeof(float));
  uint8_t* place = Writable(matrix.data);
  for (const StoredRows& slice : slices) {
    for (int64_t first = 0; first < slice.count; first += at_once) {
      const int64_t count = std::min(at_once, slice.count - first);
      RETURN_IF_ERROR(Read(*slice.tensor, slice.first + first, count));
      RETURN_IF_ERROR(At(Named({slice}), Send(matrix.type, values_, place)));
      place += count * row_bytes;
    }
  }
  return absl::OkStatus();
}

absl::Status WeightReader::Columns(const Matrix& matrix, absl::Span<const StoredRows> slices) {
  const size_t row_bytes = size_t(matrix.depth) * kernels::cuda::BytesOf(matrix.type);
  const int64_t at_once = RowsAtOnce(size_t(matrix.depth) * sizeof(float));
  std::vector<float> rows;
  for (int64_t first = 0; first < matrix.outputs; first += at_once) {
    const int64_t count = std::min(at_once, matrix.outputs - first);
    rows.resize(count * matrix.depth);
    // A tensor may give several slices, and is read once.
    std::map<const TensorInfo*, std::vector<float>> read;
    int64_t column = 0;
    for (const StoredRows& slice : slices) {
      std::vector<float>& values = read[slice.tensor];
      if (values.empty()) {
        RETURN_IF_ERROR(Read(*slice.tensor, first, count));
        values = values_;
      }
      const int64_t width = slice.tensor->shape[1];
      for (int64_t row = 0; row < count; ++row) {
        std::copy_n(values.data() + row * width + slice.first_column, slice.columns,
                    rows.data() + row * matrix.depth + column);
      }
      column += slice.columns;
    }
    RETURN_IF_ERROR(
        At(Named(slices), Send(matrix.type, rows, Writable(matrix.data) + first * row_bytes)));
  }
  return absl::OkStatus();
}

absl::Status WeightReader::RouterRows(const Matrix& matrix, int first_output,
                                      const TensorInfo& tensor, absl::Span<const float> scales) {
  ASSIGN_OR_RETURN(std::vector<float> values, FiniteValues(tensor));
  for (size_t i = 0; !scales.empty() && i < values.size(); ++i) {
    values[i] *= scales[i / matrix.depth];
  }
  RETURN_IF_ERROR(CheckFinite(tensor.name, values));
  const size_t row_bytes = size_t(matrix.depth) * kernels::cuda::BytesOf(matrix.type);
  return At(Named({StoredRows{.tensor = &tensor}}),
            Send(matrix.type, values, Writable(matrix.data) + first_output * row_bytes));
}

absl::Status WeightReader::Folded(const Matrix& matrix, const TensorInfo& tensor,
                                  const Fold& fold) {
  std::vector<float> bias;
  if (fold.bias_tensor != nullptr) {
    ASSIGN_OR_RETURN(bias, FiniteValues(*fold.bias_tensor));
  }
  BatchNormValues norm{.epsilon = fold.norm.epsilon};
  ASSIGN_OR_RETURN(norm.weight, FiniteValues(*fold.norm.weight));
  ASSIGN_OR_RETURN(norm.bias, FiniteValues(*fold.norm.bias));
  ASSIGN_OR_RETURN(norm.mean, FiniteValues(*fold.norm.mean));
  ASSIGN_OR_RETURN(norm.variance, FiniteValues(*fold.norm.variance));
  const AffineMap map = FoldBatchNorm(norm, bias);
  RETURN_IF_ERROR(Send(DeviceFloat::kF32, map.shifts, Writable(fold.bias)));
  return RouterRows(matrix, 0, tensor, map.scales);
}

absl::Status WeightReader::FiniteArray(DeviceFloat type, const TensorInfo& tensor,
                                       const void* place) {
  ASSIGN_OR_RETURN(const std::vector<float> values, FiniteValues(tensor));
  return At(Named({StoredRows{.tensor = &tensor}}), Send(type, values, Writable(place)));
}

absl::Status WeightReader::Values(const TensorInfo& tensor, const float* place) {
  ASSIGN_OR_RETURN(const std::vector<float> values, ReadValues(tensor));
  return Send(DeviceFloat::kF32, values, Writable(place));
}

absl::Status WeightReader::Experts(const kernels::ExpertTable& table,
                                   absl::Span<const TensorInfo* const> vectors) {
  const size_t record_bytes = table.RecordBytes();
  const int64_t at_once = RowsAtOnce(record_bytes);
  std::vector<uint8_t> records;
  for (int64_t first = 0; first < table.num_experts; first += at_once) {
    const int64_t count = std::min(at_once, table.num_experts - first);
    records.assign(count * record_bytes, 0);
    kernels::ExpertTable piece = table;
    piece.num_experts = count;
    for (size_t vector = 0; vector < vectors.size(); ++vector) {
      RETURN_IF_ERROR(Read(*vectors[vector], first, count));
      kernels::PackExperts({.shape = piece,
                            .vector = static_cast<int>(vector),
                            .count = count,
                            .rows = values_.data()},
                           records.data());
    }
    RETURN_IF_ERROR(uploader_.Upload(records.data(), records.size(),
                                     Writable(table.records) + first * record_bytes));
  }
  return absl::OkStatus();
}

absl::Status WeightReader::Bytes(absl::Span<const uint8_t> bytes, const void* place) {
  return uploader_.Upload(bytes.data(), bytes.size(), Writable(place));
}

absl::StatusOr<std::vector<float>> WeightReader::ReadValues(const TensorInfo& tensor) {
  RETURN_IF_ERROR(Read(tensor, 0, tensor.shape.front()));
  return values_;
}

absl::StatusOr<std::vector<float>> WeightReader::FiniteValues(const TensorInfo& tensor) {
  ASSIGN_OR_RETURN(std::vector<float> values, ReadValues(tensor));
  RETURN_IF_ERROR(CheckFinite(tensor.name, values));
  return values;
}

// Rows along the first dimension, into stored_ and values_.
absl::Status WeightReader::Read(const TensorInfo& tensor, int64_t first, int64_t rows) {
  const int64_t values = Elements(tensor.shape) / tensor.shape.front() * rows;
  stored_.resize(RowBytes(tensor.type, values));
  if (rows == tensor.shape.front()) {
    RETURN_IF_ERROR(checkpoint_.Read(tensor, absl::MakeSpan(stored_)));
  } else {
    RETURN_IF_ERROR(checkpoint_.ReadRows(tensor, first, absl::MakeSpan(stored_)));
  }
  values_.resize(values);
  kernels::DequantizeRow(tensor.type, stored_.data(), values, values_.data());
  Advance(stored_.size());
  return absl::OkStatus();
}

absl::Status WeightReader::Send(DeviceFloat type, absl::Span<const float> values, void* place) {
  const size_t bytes = kernels::cuda::BytesOf(type);
  const size_t at_once = Uploader::kBufferBytes / bytes;
  for (size_t first = 0; first < values.size(); first += at_once) {
    const size_t count = std::min(at_once, values.size() - first);
    ASSIGN_OR_RETURN(uint8_t * buffer, uploader_.Buffer());
    RETURN_IF_ERROR(CheckHeld(StoredTypeOf(type),
                              kernels::QuantizeRow(StoredTypeOf(type), values.data() + first,
                                                   static_cast<int64_t>(count), buffer)));
    RETURN_IF_ERROR(uploader_.Send(count * bytes, static_cast<uint8_t*>(place) + first * bytes));
  }
  return absl::OkStatus();
}

void WeightReader::Advance(uint64_t stored_bytes) {
  progress_.loaded += stored_bytes;
  if (progress_function_) progress_function_(progress_);
}

}  // namespace peerage::nn::cuda
