#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/experts.h"
#include "model/nn/arena.h"
#include "model/nn/conversions.h"
#include "model/nn/cuda/weights.h"
#include "model/nn/load_options.h"
#include "model/nn/plan/part.h"
#include "model/nn/plan/product_key_plan.h"

namespace peerage::nn::cuda {

class WeightReader;

// Decides for each weight of a plan as what it is held and where in device memory it lies, and
// remembers what to read for it later: nothing is read here. With an arena that only adds up, the
// reads are of no use, but bytes and conversions are known.
//
// Preconditions: the checkpoint has the tensors of its config's plan, and outlives the reads.
class WeightPlacer {
 public:
  struct Formats {
    WeightsDtype weights = WeightsDtype::kAuto;
    ExpertDtype experts = ExpertDtype::kAuto;
    DeviceFloat activations = DeviceFloat::kBF16;
  };
  WeightPlacer(const Checkpoint& checkpoint, const Formats& formats, Arena& arena)
      : checkpoint_(checkpoint), formats_(formats), arena_(arena) {}

  DeviceFloat activations() const { return formats_.activations; }

  // One matrix, as wide as the widest of its slices, or wider.
  LinearLayer Linear(const MatrixSource& source, DeviceFloat at_least = DeviceFloat::kBF16);
  DeviceFloat TypeOf(const MatrixSource& source) const;

  // A router's matrices (queries, direct scores), the rows of one behind those of the other, in
  // their stored precision.
  LinearLayer Router(const std::vector<std::string>& tensors);
  // One with a bias ("": none).
  LinearLayer Router(const std::string& tensor, const std::string& bias);
  // The same with the batch norm behind them folded in, in f32. Precondition: the norm has running
  // statistics.
  LinearLayer FoldedRouter(const std::string& tensor, const std::string& bias,
                           const QueryNormPlan& norm);

  // Sub-keys [sets..., n, width].
  SubKeys SubKeySets(const std::string& tensor);

  // A table of experts, whose vectors are the tensors [experts, width] in the kind's order.
  kernels::ExpertTable Experts(kernels::ExpertKind kind, const std::vector<std::string>& tensors);

  // A tensor as f32; of a router's, NaN and infinity are an error.
  const float* Vector(const std::string& tensor);
  const float* RouterVector(const std::string& tensor);

  // Values that are no tensor.
  template <typename T>
  const T* Constants(const std::vector<T>& values) {
    T* place = arena_.TakeArray<T>(values.size());
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    ReadBytes({bytes, bytes + values.size() * sizeof(T)}, place);
    return place;
  }

  // cos, then sin [dim / 2] of every position: once for all layers that turn alike.
  const float* RotaryAngles(const RotaryPlan& rotary);

  // Fills what was placed, in the order of placing: the order of a file.
  using Read = std::function<absl::Status(WeightReader&)>;
  const std::vector<Read>& reads() const { return reads_; }

  // "f32" or "bf16": what most bytes of matrices are.
  absl::string_view dominant_dtype() const { return bytes_[0] > bytes_[1] ? "f32" : "bf16"; }

  // What loading changes, for one log line: "3 q6_k matrices to bf16", "2 f32 tables to int8", ...
  std::vector<std::string> conversions() const { return conversions_.Texts(); }

 private:
  const TensorInfo& Info(const std::string& tensor) const;
  DeviceFloat MatrixType(const TensorInfo& tensor) const;
  kernels::ExpertFormat TableFormat(TensorType stored) const;
  Matrix Place(Matrix matrix);
  void ReadBytes(std::vector<uint8_t> bytes, const void* place);
  void Note(const TensorInfo& tensor, Conversions::Of of, absl::string_view to);

  const Checkpoint& checkpoint_;
  const Formats formats_;
  Arena& arena_;
  std::vector<Read> reads_;
  uint64_t bytes_[2] = {};                                // of matrices, by DeviceFloat
  std::map<std::pair<int, float>, const float*> angles_;  // by dim and theta
  Conversions conversions_;
};

}  // namespace peerage::nn::cuda
