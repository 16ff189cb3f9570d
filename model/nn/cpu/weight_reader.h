#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/experts.h"
#include "model/kernels/linear.h"
#include "model/kernels/product_keys.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/load_options.h"

namespace peerage::nn::cpu {

// Rows of a stored tensor [rows, depth] that become outputs of a matrix.
struct RowsOfMatrix {
  const TensorInfo* tensor = nullptr;
  int64_t first = 0;
  int64_t count = 0;
  int first_output = 0;
};

// Columns of a stored tensor [outputs, columns] that become inputs of a matrix.
struct ColumnsOfMatrix {
  const TensorInfo* tensor = nullptr;
  int64_t first = 0;
  int64_t count = 0;
};

// A batch norm's tensors, [rows] each.
struct BatchNorm {
  float epsilon = 0;
  const TensorInfo* weight = nullptr;
  const TensorInfo* bias = nullptr;
  const TensorInfo* mean = nullptr;
  const TensorInfo* variance = nullptr;
};

// Reads canonical tensors into the layouts that the kernels want, where a WeightPlacer has decided
// that they lie: memory that is zero and that nobody reads yet. Matrices and tables of experts are
// read in pieces, each by one thread of the pool; of what is small (norms, routers, sub-keys) one
// tensor is held at a time. Errors name the tensor.
class WeightReader {
 public:
  // `progress` is called after every piece, from any thread, one at a time; it may be empty.
  WeightReader(const Checkpoint& checkpoint, kernels::ThreadPool& pool, ProgressFunction progress);

  absl::Status PackRows(const kernels::PackedMatrix& matrix, absl::Span<const RowsOfMatrix> rows);
  absl::Status PackColumns(const kernels::PackedMatrix& matrix,
                           absl::Span<const ColumnsOfMatrix> columns);

  // Rows of a router in the format's precision, as outputs from `first_output` on, each times its
  // scale ([rows], or empty: 1). NaN and infinity are an error here and in all that follows but
  // Values.
  absl::Status PackRouter(const kernels::PackedMatrix& matrix, int first_output,
                          const TensorInfo& tensor, absl::Span<const float> row_scales);

  // The same with a batch norm folded into the matrix, and into `bias` [rows]. `bias_tensor` may be
  // null.
  struct Fold {
    BatchNorm norm;
    const TensorInfo* bias_tensor = nullptr;
    float* bias = nullptr;
  };
  absl::Status PackFolded(const kernels::PackedMatrix& matrix, const TensorInfo& tensor,
                          const Fold& fold);

  absl::Status PackSubKeys(absl::Span<const kernels::SubKeys> sets, const TensorInfo& tensor);

  absl::Status PackExperts(const kernels::ExpertTable& table,
                           absl::Span<const TensorInfo* const> vectors);

  absl::Status Values(const TensorInfo& tensor, float* values);
  absl::Status FiniteValues(const TensorInfo& tensor, float* values);

 private:
  // What a thread reads and converts in.
  struct Buffers {
    std::vector<uint8_t> stored;
    std::vector<float> values;
  };

  // Calls read(first, count, buffers), which returns the bytes it has read, for pieces of at most
  // `at_once` that together cover [0, count), in several threads. The first error ends it.
  template <typename ReadPiece>
  absl::Status InPieces(int64_t count, int64_t at_once, const ReadPiece& read);

  absl::Status Read(const TensorInfo& tensor);  // the whole of it, into stored_
  absl::StatusOr<std::vector<float>> FiniteVector(const TensorInfo& tensor);
  void Advance(uint64_t stored_bytes);

  const Checkpoint& checkpoint_;
  kernels::ThreadPool& pool_;
  const ProgressFunction progress_function_;
  LoadProgress progress_;
  std::vector<uint8_t> stored_;   // what was read last
  std::vector<Buffers> buffers_;  // [threads]
};

}  // namespace peerage::nn::cpu
