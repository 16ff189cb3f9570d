#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace peerage::nn {

// `--weights-dtype`: how matrices are held in memory (docs/model_format.md).
enum class WeightsDtype { kAuto, kF32, kBF16, kQ8_0, kQ4_1 };

// `--expert-dtype`: how tables of experts and values are held. kAuto follows an explicit f32 or
// bf16 of WeightsDtype, else what is stored.
enum class ExpertDtype { kAuto, kF32, kBF16, kInt8, kInt4, kFp8 };

// `--activation-dtype` and `--kv-dtype`: as what a CUDA device holds what layers read, and keys and
// values. kAuto is bf16. The CPU has f32.
enum class ActivationDtype { kAuto, kBF16, kF32 };
enum class KvDtype { kAuto, kBF16, kF32 };

// How far loading is, in stored bytes.
struct LoadProgress {
  uint64_t loaded = 0;
  uint64_t total = 0;
};
using ProgressFunction = std::function<void(const LoadProgress&)>;

// Which part of a layer reads something.
enum class LayerPart { kAttention, kFeedForward };

// Sees what a part of a layer is about to read, [tokens][hidden] after the norm before it, on the
// thread that runs the step. (With a parallel block both parts read the same.)
using InputTap = std::function<void(int layer, LayerPart part, absl::Span<const float> rows)>;

// A model's weights where several models read them. Nothing changes once they are there.
class SharedWeights {
 public:
  virtual ~SharedWeights() = default;
};

struct LoadOptions {
  std::string device = "cpu";  // or "cuda:N"
  WeightsDtype weights_dtype = WeightsDtype::kAuto;
  ExpertDtype expert_dtype = ExpertDtype::kAuto;
  ActivationDtype activation_dtype = ActivationDtype::kAuto;
  KvDtype kv_dtype = KvDtype::kAuto;
  // `--cuda-batch-invariant`: own kernels for any number of rows, never cuBLASLt, so that a row's
  // bits do not depend on the others. Always so on the CPU.
  bool cuda_batch_invariant = false;
  bool count_experts = true;  // whether ReadUsage has something to say
  bool trace_experts = true;  // whether StepOutput has picks
  int threads = 1;
  int num_slots = 1;
  int max_step_tokens = 512;
  int64_t kv_cache_bytes = 0;  // at least one block; more than all slots can use is not taken
  // Of a model of the same checkpoint, device and dtypes; null: they are read.
  std::shared_ptr<const SharedWeights> weights = nullptr;
  ProgressFunction progress = {};  // from any thread, one at a time
  InputTap input_tap = {};         // for tools that look at what layers read
};

// What a model will need, known before anything is loaded.
struct MemoryNeeds {
  uint64_t weights_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t picks_bytes = 0;     // the experts that a step picks
  uint64_t counters_bytes = 0;  // how often experts were picked
  uint64_t kv_block_bytes = 0;  // over all layers
  int32_t kv_block_tokens = 0;
  // What is free where it will lie; 0: the host's memory.
  uint64_t device_free_bytes = 0;
  // What loading changes, for one log line: "3 q6_k matrices to q8_0", "2 f32 tables to int8", ...
  std::vector<std::string> conversions;
};

}  // namespace peerage::nn
