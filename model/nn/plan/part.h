#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "model/config/model_config.h"
#include "model/experts/expert_usage.h"

// What the parts of a layer (attention, feed-forward) are planned of. A plan says what a model is
// made of and in which order; it holds no pointer, knows no device and reads nothing.
//
// Every part answers the same questions, so that counts, memory and texts are folds over parts and
// nobody asks what kind a part is:
//
//   Tensors()           the canonical tensors that the part needs (docs/model_format.md)
//   ExpertLayers()      its set of experts, if it has one
//   IdleParameters()    parameters of experts that one token does not select
//   Flops(context)      floating-point operations that one token costs behind `context` others:
//                       2 for each weight of a projection that it meets, 2 x context x heads x
//                       head_dim in attention (as the BAM paper counts, Table 10), nothing for
//                       element-wise work, selection and norms
//   Buffers()           what a token of a step needs while the part runs
//   Text(), Fields()    what inspection says of it: a line, and the fields of config.json with
//                       their defaults
namespace peerage::nn {

// kRouter: what decides which experts a token meets (queries and their norms, sub-keys, router
// matrices): plain, and finite. kVariance: a router's running variance, not below zero either.
// kTable: a row for each expert, of any number of rows.
enum class TensorRole { kMatrix, kNorm, kRouter, kVariance, kTable };

// One tensor of docs/model_format.md.
struct PlannedTensor {
  std::string name;
  std::vector<int64_t> shape;
  TensorRole role = TensorRole::kMatrix;
};

// Neighbouring rows, or columns, of a tensor [rows, columns].
struct MatrixSlice {
  std::string tensor;
  int64_t first = 0;
  int64_t count = 0;
};

// The weights of one linear layer: slices of tensors side by side. Rows: each is outputs of its
// own. Columns: each is inputs of its own, and all have the same number of rows.
enum class Join { kRows, kColumns };
struct MatrixSource {
  std::vector<MatrixSlice> slices;
  Join join = Join::kRows;
};

// y = norm(x) * weight.
struct NormPlan {
  NormType type = NormType::kRmsNorm;
  float epsilon = 1e-5f;
  int width = 0;
  std::string weight;  // a tensor [width]

  PlannedTensor Tensor() const { return {weight, {width}, TensorRole::kNorm}; }
};

// Rotary positions (Su et al. 2021) of a layer's queries and keys.
struct RotaryPlan {
  int dim = 0;
  float theta = 10000.0f;
  bool interleaved = false;  // pairs (2i, 2i + 1), else (i, i + dim / 2)
};

// Values that one token needs in a step while a part runs. Parts of a layer run one after the
// other, so a model needs the most of each.
struct BufferWidths {
  size_t qkv = 0;           // queries, keys and values
  size_t attended = 0;      // outputs of all heads
  size_t hidden = 0;        // of a feed-forward part, all picked experts side by side
  size_t input = 0;         // of the widest linear layer, likewise
  size_t expert_input = 0;  // product keys: of a norm of their own
  size_t queries = 0;       // product keys: or direct scores
  size_t head_sums = 0;     // product keys: the outputs of all heads apart
  size_t gates = 0;         // mixtures of attention: one an expert
  size_t ffn_gates = 0;     // mixtures of feed-forward parts: and what else the router gives
  size_t kept_logits = 0;   // mixtures whose logits reach a later layer: one an expert
  size_t head_gates = 0;    // mixtures of attention: one a head
  size_t picked = 0;        // mixtures of feed-forward parts: experts of one token

  void RaiseTo(const BufferWidths& other);
};

// Where a part stands in the model.
struct PartPlace {
  const ModelConfig& model;
  std::string prefix;    // of its tensors: "model.layers.0.ffn.peer."
  int layer = 0;         // index of the transformer layer
  int expert_layer = 0;  // index among the model's expert layers, for a part that has experts
};

// Whole matrices, the rows of one after those of the other.
MatrixSource Rows(std::vector<PlannedTensor> tensors);

}  // namespace peerage::nn
