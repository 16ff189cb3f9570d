#include "model/nn/cpu/weight_reader.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/kernels/stored_block.h"
#include "model/nn/cpu/matrix_packing.h"

namespace peerage::nn::cpu {
namespace {

// Rows that are read at a time of matrices whose columns lie side by side: whole tiles, and enough
// that the team is busy.
constexpr int kRowsOfColumns = 512;

// Stored bytes of a table's vector that one thread reads at a time.
constexpr int64_t kPieceBytes = int64_t{1} << 20;

// What a placer has found a place for is const to everybody else.
uint8_t* Writable(const uint8_t* place) { return const_cast<uint8_t*>(place); }

int64_t Elements(const TensorInfo& tensor) {
  int64_t elements = 1;
  for (const int64_t dimension : tensor.shape) elements *= dimension;
  return elements;
}

absl::Status CheckFinite(const std::string& name, absl::Span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " holds ", value,
                                                     ": a router's values are numbers"));
    }
  }
  return absl::OkStatus();
}

// A vector of some experts, by way of f32. The buffers are the thread's own.
struct TablePiece {
  std::vector<uint8_t> stored;
  std::vector<float> rows;

  absl::Status Pack(const Checkpoint& checkpoint, const TensorInfo& tensor,
                    kernels::PackExpertsArgs args) {
    const int64_t values = args.count * args.shape.width;
    stored.resize(RowBytes(tensor.type, values));
    rows.resize(values);
    RETURN_IF_ERROR(checkpoint.ReadRows(tensor, args.first, absl::MakeSpan(stored)));
    kernels::DequantizeRow(tensor.type, stored.data(), values, rows.data());
    args.rows = rows.data();
    kernels::PackExperts(args, Writable(args.shape.records));
    return absl::OkStatus();
  }
};

}  // namespace

WeightReader::WeightReader(const Checkpoint& checkpoint, kernels::ThreadPool& pool,
                           ProgressFunction progress)
    : checkpoint_(checkpoint), pool_(pool), progress_function_(std::move(progress)) {
  for (const TensorInfo& tensor : checkpoint.tensors()) progress_.total += tensor.bytes;
}

absl::Status WeightReader::PackRows(const kernels::PackedMatrix& matrix,
                                    absl::Span<const RowsOfMatrix> rows) {
  for (const RowsOfMatrix& part : rows) {
    const TensorInfo& tensor = *part.tensor;
    const size_t row_bytes = RowBytes(tensor.type, tensor.shape[1]);
    stored_.resize(part.count * row_bytes);
    RETURN_IF_ERROR(ReadRows(tensor, part.first, absl::MakeSpan(stored_)));
    const RowSegment segment{
        .type = tensor.type, .data = stored_.data(), .stride = row_bytes, .width = tensor.shape[1]};
    cpu::PackRows(pool_,
                  {.matrix = matrix,
                   .first_output = part.first_output,
                   .rows = static_cast<int>(part.count),
                   .segments = {&segment, 1}},
                  Writable(matrix.tiles));
  }
  return absl::OkStatus();
}

absl::Status WeightReader::PackColumns(const kernels::PackedMatrix& matrix,
                                       absl::Span<const ColumnsOfMatrix> columns) {
  std::map<const TensorInfo*, std::vector<uint8_t>> sources;
  for (const ColumnsOfMatrix& part : columns) sources.try_emplace(part.tensor);
  for (int first = 0; first < matrix.outputs; first += kRowsOfColumns) {
    const int rows = std::min(kRowsOfColumns, matrix.outputs - first);
    for (auto& [tensor, stored] : sources) {
      stored.resize(rows * RowBytes(tensor->type, tensor->shape[1]));
      RETURN_IF_ERROR(ReadRows(*tensor, first, absl::MakeSpan(stored)));
    }
    std::vector<RowSegment> segments;
    for (const ColumnsOfMatrix& part : columns) {
      const std::vector<uint8_t>& stored = sources.at(part.tensor);
      segments.push_back({.type = part.tensor->type,
                          .data = stored.data() + RowBytes(part.tensor->type, part.first),
                          .stride = stored.size() / rows,
                          .width = part.count});
    }
    cpu::PackRows(pool_,
                  {.matrix = matrix, .first_output = first, .rows = rows, .segments = segments},
                  Writable(matrix.tiles));
  }
  return absl::OkStatus();
}

absl::Status WeightReader::PackRouter(const kernels::PackedMatrix& matrix, int first_output,
                                      const TensorInfo& tensor,
                                      absl::Span<const float> row_scales) {
  RETURN_IF_ERROR(Read(tensor));
  std::vector<float> values(matrix.depth);
  std::vector<uint8_t> row(kernels::StoredRowBytes(matrix.format, matrix.depth));
  const size_t stored_bytes = RowBytes(tensor.type, matrix.depth);
  const int rows = static_cast<int>(Elements(tensor) / matrix.depth);
  for (int r = 0; r < rows; ++r) {
    kernels::DequantizeRow(tensor.type, stored_.data() + r * stored_bytes, matrix.depth,
                           values.data());
    if (!row_scales.empty()) {
      for (float& value : values) value *= row_scales[r];
    }
    RETURN_IF_ERROR(CheckFinite(tensor.name, values));
    kernels::QuantizeRow(matrix.format, values.data(), matrix.depth, row.data());
    kernels::Pack(
        {.shape = matrix, .first_output = first_output + r, .num_rows = 1, .rows = row.data()},
        Writable(matrix.tiles));
  }
  return absl::OkStatus();
}

absl::Status WeightReader::PackFolded(const kernels::PackedMatrix& matrix, const TensorInfo& tensor,
                                      const Fold& fold) {
  std::vector<float> bias(matrix.outputs);
  if (fold.bias_tensor != nullptr) {
    ASSIGN_OR_RETURN(bias, FiniteVector(*fold.bias_tensor));
  }
  ASSIGN_OR_RETURN(const std::vector<float> weight, FiniteVector(*fold.norm.weight));
  ASSIGN_OR_RETURN(const std::vector<float> shift, FiniteVector(*fold.norm.bias));
  ASSIGN_OR_RETURN(const std::vector<float> mean, FiniteVector(*fold.norm.mean));
  ASSIGN_OR_RETURN(const std::vector<float> variance, FiniteVector(*fold.norm.variance));
  std::vector<float> scales;
  for (int i = 0; i < matrix.outputs; ++i) {
    const double scale = weight[i] / std::sqrt(double{variance[i]} + fold.norm.epsilon);
    scales.push_back(static_cast<float>(scale));
    fold.bias[i] = std::fma(bias[i], scales.back(), static_cast<float>(shift[i] - mean[i] * scale));
  }
  return PackRouter(matrix, 0, tensor, scales);
}

absl::Status WeightReader::PackSubKeys(absl::Span<const kernels::SubKeys> sets,
                                       const TensorInfo& tensor) {
  RETURN_IF_ERROR(Read(tensor));
  const kernels::SubKeys& shape = sets.front();
  const int64_t elements = int64_t{shape.n} * shape.width;
  std::vector<float> values(elements);
  std::vector<uint8_t> rows(shape.n * kernels::StoredRowBytes(shape.format, shape.width));
  const size_t stored_bytes = RowBytes(tensor.type, elements);
  for (size_t set = 0; set < sets.size(); ++set) {
    kernels::DequantizeRow(tensor.type, stored_.data() + set * stored_bytes, elements,
                           values.data());
    RETURN_IF_ERROR(CheckFinite(tensor.name, values));
    kernels::QuantizeRow(shape.format, values.data(), elements, rows.data());
    kernels::PackSubKeys(shape, rows.data(), Writable(sets[set].data));
  }
  return absl::OkStatus();
}

absl::Status WeightReader::PackExperts(const kernels::ExpertTable& table,
                                       absl::Span<const TensorInfo* const> vectors) {
  const int64_t row_bytes = RowBytes(vectors.front()->type, table.width);
  const int64_t experts_at_once = std::max<int64_t>(1, kPieceBytes / row_bytes);
  absl::Mutex mu;  // guards `status` and the progress
  absl::Status status;
  pool_.For(table.num_experts, experts_at_once, [&](int64_t begin, int64_t end, int) {
    TablePiece piece;
    for (int64_t first = begin; first < end; first += experts_at_once) {
      const int64_t count = std::min(experts_at_once, end - first);
      for (size_t vector = 0; vector < vectors.size(); ++vector) {
        const absl::Status packed = piece.Pack(
            checkpoint_, *vectors[vector],
            {.shape = table, .vector = static_cast<int>(vector), .first = first, .count = count});
        absl::MutexLock lock(&mu);
        status.Update(packed);
        if (!status.ok()) return;
        Advance(piece.stored.size());
      }
    }
  });
  return status;
}

absl::Status WeightReader::Values(const TensorInfo& tensor, float* values) {
  RETURN_IF_ERROR(Read(tensor));
  kernels::DequantizeRow(tensor.type, stored_.data(), Elements(tensor), values);
  return absl::OkStatus();
}

absl::Status WeightReader::FiniteValues(const TensorInfo& tensor, float* values) {
  RETURN_IF_ERROR(Values(tensor, values));
  return CheckFinite(tensor.name, {values, static_cast<size_t>(Elements(tensor))});
}

absl::StatusOr<std::vector<float>> WeightReader::FiniteVector(const TensorInfo& tensor) {
  std::vector<float> values(Elements(tensor));
  RETURN_IF_ERROR(FiniteValues(tensor, values.data()));
  return values;
}

absl::Status WeightReader::Read(const TensorInfo& tensor) {
  stored_.resize(tensor.bytes);
  RETURN_IF_ERROR(checkpoint_.Read(tensor, absl::MakeSpan(stored_)));
  Advance(tensor.bytes);
  return absl::OkStatus();
}

absl::Status WeightReader::ReadRows(const TensorInfo& tensor, int64_t first,
                                    absl::Span<uint8_t> stored) {
  RETURN_IF_ERROR(checkpoint_.ReadRows(tensor, first, stored));
  Advance(stored.size());
  return absl::OkStatus();
}

void WeightReader::Advance(uint64_t stored_bytes) {
  progress_.loaded += stored_bytes;
  if (progress_function_) progress_function_(progress_);
}

}  // namespace peerage::nn::cpu
