#include "model/nn/cpu/weight_reader.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/kernels/stored_block.h"
#include "model/nn/conversions.h"
#include "model/nn/cpu/matrix_packing.h"
#include "model/nn/router_values.h"

namespace peerage::nn::cpu {
namespace {

// What one thread reads at a time of a matrix, in rows of some bytes: a piece that stays in its
// cache, whole tiles. Never more than kMostPieces of them: rows that the file holds in another
// order may cost a reading of their whole tensor.
constexpr int64_t kMatrixPieceBytes = int64_t{128} << 10;
constexpr int64_t kMostPieces = 16;
int64_t RowsAtOnce(int64_t rows, uint64_t row_bytes) {
  constexpr int64_t kTile = 32;
  const int64_t wanted = std::max(kMatrixPieceBytes / static_cast<int64_t>(row_bytes),
                                  (rows + kMostPieces - 1) / kMostPieces);
  return (wanted + kTile - 1) / kTile * kTile;
}

// Stored bytes of a table's vector that one thread reads at a time.
constexpr int64_t kTablePieceBytes = int64_t{1} << 20;

// What a placer has found a place for is const to everybody else.
uint8_t* Writable(const uint8_t* place) { return const_cast<uint8_t*>(place); }

// What a matrix takes of a tensor's rows, which lie at `stored`.
RowSegment SegmentOf(const ColumnsOfMatrix& columns, const uint8_t* stored) {
  const TensorInfo& tensor = *columns.tensor;
  return {.type = tensor.type,
          .data = stored + RowBytes(tensor.type, columns.first),
          .stride = RowBytes(tensor.type, tensor.shape[1]),
          .width = columns.count};
}

// What rounding takes from the tensors of a matrix. Several threads may add to it.
class Losses {
 public:
  void Add(const TensorInfo& tensor, const kernels::RoundingLoss& loss) {
    absl::MutexLock lock(&mu_);
    losses_[&tensor].Add(loss);
  }

  // An error names the tensor that the format does not hold.
  absl::Status Check(kernels::WeightFormat format) {
    absl::MutexLock lock(&mu_);
    for (const auto& [tensor, loss] : losses_) {
      RETURN_IF_ERROR(At(absl::StrCat("tensor ", Quoted(tensor->name)),
                         CheckHeld(kernels::StoredType(format), loss)));
    }
    return absl::OkStatus();
  }

 private:
  absl::Mutex mu_;
  std::map<const TensorInfo*, kernels::RoundingLoss> losses_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

WeightReader::WeightReader(const Checkpoint& checkpoint, kernels::ThreadPool& pool,
                           ProgressFunction progress)
    : checkpoint_(checkpoint),
      pool_(pool),
      progress_function_(std::move(progress)),
      buffers_(pool.threads()) {
  for (const TensorInfo& tensor : checkpoint.tensors()) progress_.total += tensor.bytes;
}

template <typename ReadPiece>
absl::Status WeightReader::InPieces(int64_t count, int64_t at_once, const ReadPiece& read) {
  absl::Mutex mu;  // guards `status` and the progress
  absl::Status status;
  pool_.For(count, at_once, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t first = begin; first < end; first += at_once) {
      const absl::StatusOr<uint64_t> bytes =
          read(first, std::min(at_once, end - first), buffers_[thread]);
      absl::MutexLock lock(&mu);
      status.Update(bytes.status());
      if (!status.ok()) return;
      Advance(*bytes);
    }
  });
  return status;
}

absl::Status WeightReader::PackRows(const kernels::PackedMatrix& matrix,
                                    absl::Span<const RowsOfMatrix> rows) {
  Losses losses;
  for (const RowsOfMatrix& part : rows) {
    const TensorInfo& tensor = *part.tensor;
    const size_t row_bytes = RowBytes(tensor.type, tensor.shape[1]);
    const auto read = [&](int64_t first, int64_t count,
                          Buffers& buffers) -> absl::StatusOr<uint64_t> {
      buffers.stored.resize(count * row_bytes);
      RETURN_IF_ERROR(
          checkpoint_.ReadRows(tensor, part.first + first, absl::MakeSpan(buffers.stored)));
      const RowSegment segment =
          SegmentOf({.tensor = &tensor, .count = tensor.shape[1]}, buffers.stored.data());
      losses.Add(tensor, cpu::PackRows({.matrix = matrix,
                                        .first_output = part.first_output + static_cast<int>(first),
                                        .rows = static_cast<int>(count),
                                        .segments = {&segment, 1}},
                                       Writable(matrix.tiles))
                             .front());
      return buffers.stored.size();
    };
    RETURN_IF_ERROR(InPieces(part.count, RowsAtOnce(part.count, row_bytes), read));
  }
  return losses.Check(matrix.format);
}

absl::Status WeightReader::PackColumns(const kernels::PackedMatrix& matrix,
                                       absl::Span<const ColumnsOfMatrix> columns) {
  // Where the rows of each tensor begin in a piece of some rows.
  std::map<const TensorInfo*, uint64_t> row_begins;
  uint64_t row_bytes = 0;  // of all tensors
  for (const ColumnsOfMatrix& part : columns) {
    if (!row_begins.try_emplace(part.tensor, row_bytes).second) continue;
    row_bytes += RowBytes(part.tensor->type, part.tensor->shape[1]);
  }
  Losses losses;
  const auto read = [&](int64_t first, int64_t count,
                        Buffers& buffers) -> absl::StatusOr<uint64_t> {
    buffers.stored.resize(count * row_bytes);
    for (const auto& [tensor, row_begin] : row_begins) {
      RETURN_IF_ERROR(checkpoint_.ReadRows(
          *tensor, first,
          absl::MakeSpan(buffers.stored)
              .subspan(count * row_begin, count * RowBytes(tensor->type, tensor->shape[1]))));
    }
    std::vector<RowSegment> segments;
    for (const ColumnsOfMatrix& part : columns) {
      segments.push_back(
          SegmentOf(part, buffers.stored.data() + count * row_begins.at(part.tensor)));
    }
    const std::vector<kernels::RoundingLoss> lost =
        cpu::PackRows({.matrix = matrix,
                       .first_output = static_cast<int>(first),
                       .rows = static_cast<int>(count),
                       .segments = segments},
                      Writable(matrix.tiles));
    for (size_t i = 0; i < lost.size(); ++i) losses.Add(*columns[i].tensor, lost[i]);
    return buffers.stored.size();
  };
  RETURN_IF_ERROR(InPieces(matrix.outputs, RowsAtOnce(matrix.outputs, row_bytes), read));
  return losses.Check(matrix.format);
}

absl::Status WeightReader::PackRouter(const kernels::PackedMatrix& matrix, int first_output,
                                      const TensorInfo& tensor,
                                      absl::Span<const float> row_scales) {
  RETURN_IF_ERROR(Read(tensor));
  std::vector<float> values(matrix.depth);
  std::vector<uint8_t> row(kernels::StoredRowBytes(matrix.format, matrix.depth));
  const size_t stored_bytes = RowBytes(tensor.type, matrix.depth);
  const int rows = static_cast<int>(Elements(tensor.shape) / matrix.depth);
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
  std::vector<float> bias;
  if (fold.bias_tensor != nullptr) {
    ASSIGN_OR_RETURN(bias, FiniteVector(*fold.bias_tensor));
  }
  BatchNormValues norm{.epsilon = fold.norm.epsilon};
  ASSIGN_OR_RETURN(norm.weight, FiniteVector(*fold.norm.weight));
  ASSIGN_OR_RETURN(norm.bias, FiniteVector(*fold.norm.bias));
  ASSIGN_OR_RETURN(norm.mean, FiniteVector(*fold.norm.mean));
  ASSIGN_OR_RETURN(norm.variance, FiniteVector(*fold.norm.variance));
  const AffineMap map = FoldBatchNorm(norm, bias);
  std::copy(map.shifts.begin(), map.shifts.end(), fold.bias);
  return PackRouter(matrix, 0, tensor, map.scales);
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

// All vectors of some experts at a time, by way of f32.
absl::Status WeightReader::PackExperts(const kernels::ExpertTable& table,
                                       absl::Span<const TensorInfo* const> vectors) {
  const auto read = [&](int64_t first, int64_t count,
                        Buffers& buffers) -> absl::StatusOr<uint64_t> {
    const int64_t values = count * table.width;
    buffers.values.resize(values);
    uint64_t bytes = 0;
    for (size_t vector = 0; vector < vectors.size(); ++vector) {
      const TensorInfo& tensor = *vectors[vector];
      buffers.stored.resize(RowBytes(tensor.type, values));
      RETURN_IF_ERROR(checkpoint_.ReadRows(tensor, first, absl::MakeSpan(buffers.stored)));
      kernels::DequantizeRow(tensor.type, buffers.stored.data(), values, buffers.values.data());
      kernels::PackExperts({.shape = table,
                            .vector = static_cast<int>(vector),
                            .first = first,
                            .count = count,
                            .rows = buffers.values.data()},
                           Writable(table.records));
      bytes += buffers.stored.size();
    }
    return bytes;
  };
  const auto row_bytes = static_cast<int64_t>(RowBytes(vectors.front()->type, table.width));
  return InPieces(table.num_experts, std::max<int64_t>(1, kTablePieceBytes / row_bytes), read);
}

absl::Status WeightReader::Values(const TensorInfo& tensor, float* values) {
  RETURN_IF_ERROR(Read(tensor));
  kernels::DequantizeRow(tensor.type, stored_.data(), Elements(tensor.shape), values);
  return absl::OkStatus();
}

absl::Status WeightReader::FiniteValues(const TensorInfo& tensor, float* values) {
  RETURN_IF_ERROR(Values(tensor, values));
  return CheckFinite(tensor.name, {values, static_cast<size_t>(Elements(tensor.shape))});
}

absl::StatusOr<std::vector<float>> WeightReader::FiniteVector(const TensorInfo& tensor) {
  std::vector<float> values(Elements(tensor.shape));
  RETURN_IF_ERROR(FiniteValues(tensor, values.data()));
  return values;
}

absl::Status WeightReader::Read(const TensorInfo& tensor) {
  stored_.resize(tensor.bytes);
  RETURN_IF_ERROR(checkpoint_.Read(tensor, absl::MakeSpan(stored_)));
  Advance(tensor.bytes);
  return absl::OkStatus();
}

void WeightReader::Advance(uint64_t stored_bytes) {
  progress_.loaded += stored_bytes;
  if (progress_function_) progress_function_(progress_);
}

}  // namespace peerage::nn::cpu
