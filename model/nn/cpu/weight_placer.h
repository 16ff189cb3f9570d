#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/product_keys.h"
#include "model/nn/conversions.h"
#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/storage.h"
#include "model/nn/cpu/weight_formats.h"
#include "model/nn/plan/product_key_plan.h"

namespace peerage::nn::cpu {

class WeightReader;

// A router's matrix and what is added to its product.
struct FoldedQuery {
  LinearLayer matrix;
  const float* bias = nullptr;
};

// Decides for each weight of a plan in which format it is held and where in the arena it lies, and
// remembers what to read for it later: nothing is read here. With an arena that only adds up, the
// reads are of no use, but bytes and conversions are known.
//
// Preconditions: the checkpoint has the tensors of its config's plan, and outlives the reads.
class WeightPlacer {
 public:
  struct Formats {
    WeightsDtype weights = WeightsDtype::kAuto;
    ExpertDtype experts = ExpertDtype::kAuto;
  };
  WeightPlacer(const Checkpoint& checkpoint, const Formats& formats, Arena& arena)
      : checkpoint_(checkpoint), formats_(formats), arena_(arena) {}

  // Rows side by side: neighbours of one format become one packed matrix. Columns side by side: one
  // matrix; quantised formats need slices of whole blocks, else the result is f32.
  LinearLayer Linear(const MatrixSource& source);

  // A router's matrices (queries, direct scores), whatever their numbers of dimensions: [rows,
  // depth] with the last dimension as depth, in their stored precision, the rows of one behind
  // those of the other. NaN and infinity are an error.
  LinearLayer Router(const std::vector<std::string>& tensors);

  // A query's matrix and bias ("": none) with the batch norm behind them folded in, as the affine
  // map that it is at inference: y = scale * x + shift (Ioffe and Szegedy 2015, Algorithm 2, line
  // 11). In f32. Precondition: the norm has running statistics.
  FoldedQuery FoldedRouter(const std::string& matrix, const std::string& bias,
                           const QueryNormPlan& norm);

  // Sub-keys [sets..., n, width], set by set. NaN and infinity are an error.
  std::vector<kernels::SubKeys> SubKeySets(const std::string& tensor);

  // A table of experts, whose vectors are the tensors [experts, width] in the kind's order.
  kernels::ExpertTable Experts(kernels::ExpertKind kind, const std::vector<std::string>& tensors);

  // A tensor as f32; of a router's, NaN and infinity are an error.
  const float* Vector(const std::string& tensor);
  const float* RouterVector(const std::string& tensor);

  // Fills what was placed, in the order of placing: the order of a file.
  using Read = std::function<absl::Status(WeightReader&)>;
  const std::vector<Read>& reads() const { return reads_; }

  // The format that holds most bytes of packed matrices, to name the model's dtype.
  kernels::WeightFormat dominant_format() const;

  // What loading changes, for one log line: "3 q6_k matrices to q8_0", "2 f32 tables to int8", ...
  std::vector<std::string> conversions() const { return conversions_.Texts(); }

 private:
  const TensorInfo& Info(const std::string& tensor) const;
  kernels::PackedMatrix Place(kernels::PackedMatrix matrix);
  LinearLayer JoinRows(absl::Span<const MatrixSlice> slices);
  LinearLayer JoinColumns(absl::Span<const MatrixSlice> slices);
  void NoteMatrix(const TensorInfo& tensor, kernels::WeightFormat format);

  const Checkpoint& checkpoint_;
  const Formats formats_;
  Arena& arena_;
  std::vector<Read> reads_;
  uint64_t bytes_[4] = {};  // of packed matrices, by format
  Conversions conversions_;
};

}  // namespace peerage::nn::cpu
