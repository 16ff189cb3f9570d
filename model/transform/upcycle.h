#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tensor_type.h"
#include "model/transform/progress.h"

namespace peerage::transform {

// What becomes of the attention of the dense models. kExpert and kShared: an attention expert of
// each, with keys and values of its own or one averaged projection for all (BAM, arXiv 2408.08274).
// kAverage: one attention, the average (BTX, arXiv 2403.07816). kBase: all but the FFN experts is
// the base's, as sparse upcycling (arXiv 2212.05055) of different models has it.
enum class UpcycledAttention { kExpert, kShared, kAverage, kBase };

// Whether the mixture's attention is one of experts, with a router.
constexpr bool HasAttentionExperts(UpcycledAttention attention) {
  return attention == UpcycledAttention::kExpert || attention == UpcycledAttention::kShared;
}

// kPrompts: prompt_routers.h.
enum class RouterInit { kZero, kRandom, kPrompts };

// A model (a directory or a .gguf file) or a text that belongs to an expert.
struct NamedPath {
  std::string name;
  std::string path;
};

struct UpcycleOptions {
  NamedPath base;                  // expert 0
  std::vector<NamedPath> experts;  // expert 1 and on
  int num_experts = 0;             // above 0: the base so many times, instead of `experts`
  bool allow_identical = false;    // whether two experts may have the same weights
  UpcycledAttention attention = UpcycledAttention::kExpert;
  std::optional<int> attention_top_k;  // absent: soft routing, over all attention experts
  int top_k = 1;                       // FFN experts
  bool normalize_top_k = false;        // where a top_k counts: the kept gates are made to sum to 1
  RouterInit routers = RouterInit::kRandom;
  double router_std = 0.02;              // of random routers
  std::vector<NamedPath> prompts;        // a text file of each expert, for kPrompts
  uint64_t random_seed = 0;              // of routers and PEER memories
  std::vector<std::string> peers;        // descriptions of memories to add (peer_memory.h)
  TensorType dtype = TensorType::kBF16;  // F32, BF16 or F16
  std::string out;                       // a directory; made when it is not there
  std::string program;                   // who does it, for the record
  ProgressFunction progress;
};

struct UpcycleReport {
  std::vector<std::string> expert_names;  // none of a model that stays dense
  size_t tensors = 0;
  uint64_t bytes = 0;
  std::vector<std::string> warnings;
};

// Makes a mixture of dense models of one shape: FFN expert i is the FFN of model i, and everything
// that is not an expert's the uniform average of all (f64, rounded once). A single model stays
// dense and gets its PEER memories. Those begin with zero up vectors: they add nothing until they
// are trained. Random values depend on the seed, the tensor's name and the place in it alone.
//
// Writes a model directory with upcycle.json, the record of how it was made. Reads a few MiB of a
// tensor at a time. Models of different shapes or tokenizers, and a directory that has a model
// already, are errors.
absl::StatusOr<UpcycleReport> Upcycle(const UpcycleOptions& options);

}  // namespace peerage::transform
