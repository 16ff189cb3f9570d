#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/product_keys.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/linear_layer.h"
#include "model/nn/storage.h"
#include "model/nn/weights_dtype.h"

namespace peerage::nn {

// How far loading is, in stored bytes.
struct LoadProgress {
  uint64_t loaded = 0;
  uint64_t total = 0;
};

// Neighbouring rows, or columns, of a matrix.
struct MatrixSlice {
  std::string name;
  int64_t first = 0;
  int64_t count = 0;
};

// Reads canonical tensors into the layouts that the kernels want. Beside the packed weights, one
// matrix's stored bytes are held while it is converted; tables of experts, and matrices side by
// side, are read in pieces.
//
// With an arena that only adds up (a dry run), nothing is read: what would be taken and converted
// is known afterwards.
class WeightLoader {
 public:
  struct Options {
    WeightsDtype weights_dtype = WeightsDtype::kAuto;
    ExpertDtype expert_dtype = ExpertDtype::kAuto;
    std::function<void(const LoadProgress&)> progress;  // after every piece; may be empty
  };
  // `pool` is not used in a dry run.
  WeightLoader(const Checkpoint& checkpoint, Options options, kernels::ThreadPool* pool,
               Arena& arena);

  bool dry_run() const { return arena_.dry_run(); }

  // The named matrices side by side; neighbours of one format become one packed matrix.
  absl::StatusOr<LinearLayer> Linear(const std::vector<std::string>& names);

  // The same of slices of rows.
  absl::StatusOr<LinearLayer> LinearOfRows(const std::vector<MatrixSlice>& slices);

  // One matrix whose columns are those of the slices, side by side. All matrices have the same
  // number of rows. Quantised formats need slices of whole blocks; else the result is f32.
  absl::StatusOr<LinearLayer> LinearOfColumns(const std::vector<MatrixSlice>& slices);

  // A router's matrix (queries, direct scores), whatever its number of dimensions: [rows, depth]
  // with the last dimension as depth. Stays in its stored precision, or becomes f32 when its rows
  // are scaled. NaN and infinity are an error.
  struct RouterMatrix {
    std::string name;
    absl::Span<const float> row_scales;  // [rows], or empty
  };
  absl::StatusOr<LinearLayer> Router(const RouterMatrix& matrix);

  // Sub-keys [sets..., n, width], set by set. NaN and infinity are an error.
  absl::StatusOr<std::vector<kernels::SubKeys>> SubKeySets(const std::string& name);

  // A table of experts, whose vectors are the named tensors [experts, width] in the kind's order.
  absl::StatusOr<kernels::ExpertTable> Experts(kernels::ExpertKind kind,
                                               const std::vector<std::string>& names);

  // A vector as f32, in the arena.
  absl::StatusOr<const float*> Vector(const std::string& name);
  // A copy of a router's small tensor as f32; zeros in a dry run. NaN and infinity are an error.
  absl::StatusOr<std::vector<float>> RouterVector(const std::string& name);
  const float* Keep(absl::Span<const float> values);  // a copy in the arena

  // Bytes of packed matrices by format, to name the model's dtype.
  uint64_t bytes(kernels::WeightFormat format) const { return bytes_[static_cast<size_t>(format)]; }

  // What loading changes, for one log line: "3 q6_k matrices to q8_0", "2 f32 tables to int8", ...
  std::vector<std::string> conversions() const;

 private:
  absl::StatusOr<const TensorInfo*> Find(const std::string& name) const;
  absl::StatusOr<const TensorInfo*> Read(const std::string& name);
  absl::Status ReadRows(const TensorInfo& tensor, int64_t first, absl::Span<uint8_t> stored);
  absl::Status PackSlice(const kernels::PackedMatrix& matrix, int first_output,
                         const MatrixSlice& slice);
  absl::Status PackColumns(const kernels::PackedMatrix& matrix,
                           const std::vector<MatrixSlice>& slices);
  uint8_t* TakeTiles(const kernels::PackedMatrix& matrix);
  void NoteMatrix(const TensorInfo& tensor, kernels::WeightFormat format);
  void Advance(uint64_t stored_bytes);

  const Checkpoint& checkpoint_;
  const Options options_;
  kernels::ThreadPool* const pool_;
  Arena& arena_;
  std::vector<uint8_t> stored_;  // the tensor that was read last
  uint64_t bytes_[4] = {};
  LoadProgress progress_;
  // (stored type, what it is, to): how many.
  std::map<std::tuple<TensorType, std::string_view, std::string_view>, int> conversions_;
};

}  // namespace peerage::nn
