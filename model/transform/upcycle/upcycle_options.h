#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
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
  int top_k = 1;                       // FFN experts, the following ones included
  // Beside the FFN experts (MoE++, arXiv 2410.07348). Constant experts begin as half a copy each.
  int zero_experts = 0;
  int copy_experts = 0;
  int constant_experts = 0;
  bool gating_residual = false;  // begins as zero: it changes nothing until it is trained
  bool normalize_top_k = false;  // where a top_k counts: the kept gates are made to sum to 1
  RouterInit routers = RouterInit::kRandom;
  double router_std = 0.02;              // of random routers
  std::vector<NamedPath> prompts;        // a text file of each expert, for kPrompts
  int threads = 1;                       // that read prompts
  uint64_t random_seed = 0;              // of routers and PEER memories
  std::vector<std::string> peers;        // descriptions of memories to add (peer_memory.h)
  TensorType dtype = TensorType::kBF16;  // F32, BF16 or F16
  std::string out;                       // a directory; made when it is not there
  std::string program;                   // who does it, for the record
  ProgressFunction progress;
  std::function<void(size_t read, size_t total)> prompt_progress;  // in tokens; may be empty

  // Whether there are several experts; a single model stays dense.
  bool MakesMixture() const { return num_experts > 0 ? num_experts > 1 : !experts.empty(); }

  // Of all experts, the base's first; copies are called base-1 and so on.
  std::vector<std::string> ExpertNames() const;

  // Whether the options fit each other, which is known without the models. Errors name the option
  // of `peerage-model upcycle`.
  absl::Status Validate() const;
};

}  // namespace peerage::transform
