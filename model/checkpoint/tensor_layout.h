#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model_config.h"

namespace peerage {

// Whose names the tensors of a file have.
enum class TensorNaming { kPeerage, kLlama, kGguf };

// kRouter: what decides which experts a token meets (queries, their norms, sub-keys, router
// matrices). kTable: a row for each expert, of any number of rows.
enum class TensorRole { kMatrix, kNorm, kRouter, kTable };

// One tensor that a model needs.
struct TensorSpec {
  std::string name;         // canonical (docs/model_format.md, tensors of `peerage`)
  std::string stored_name;  // in the file
  std::vector<int64_t> shape;
  TensorRole role = TensorRole::kMatrix;
  // Above 0: the file has the rows of each of so many heads in the order of interleaved rotary
  // pairs (rotary_rows.h).
  int interleaved_heads = 0;
};

// Every tensor of a model, embedding first, then layer by layer, norm and head last.
// Precondition: the config came from a parser, so that its values are in range.
std::vector<TensorSpec> TensorLayout(const ModelConfig& config, TensorNaming naming);

}  // namespace peerage
