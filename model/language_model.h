#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/experts/expert_control.h"
#include "model/experts/expert_usage.h"
#include "model/token.h"

namespace peerage {

// Index of one KV-cache block; the storage behind it belongs to the model. One id spans all layers.
using BlockId = int32_t;

// Index of one sequence's state inside the model (sampling state, random stream).
using SlotId = int32_t;

// How one slot turns logits into tokens. Ranges are checked where requests enter (rpc/validate);
// the order of the steps is the contract in inference.proto: logit_bias, repetition, frequency and
// presence penalties, temperature, top_k, top_p, min_p.
struct SamplingParams {
  float temperature = 1;  // 0: greedy
  uint32_t top_k = 0;     // 0: all
  float top_p = 1;
  float min_p = 0;
  uint64_t seed = 0;
  float repetition_penalty = 1;  // over prompt and generated tokens
  float frequency_penalty = 0;   // over generated tokens
  float presence_penalty = 0;    // over generated tokens
  std::vector<std::pair<TokenId, float>> logit_bias = {};
  // Until this many tokens are generated, `masked_ids` cannot be sampled.
  uint32_t min_tokens = 0;
  std::vector<TokenId> masked_ids = {};
};

// What the draws of a slot depend on beside the logits: everything, so that whoever opens a slot
// with the same state at the same place of a sequence draws the same tokens.
struct SlotState {
  SamplingParams sampling = {};
  absl::Span<const TokenId> prompt = {};     // the repetition penalty sees it
  absl::Span<const TokenId> generated = {};  // drawn before, by whatever slot, in order
  uint32_t candidate = 0;                    // selects the random stream of the seed
};

// Consecutive tokens of one sequence: a prefill chunk, or one token of decoding.
struct Chunk {
  SlotId slot = 0;
  absl::Span<const TokenId> tokens;
  int32_t first_position = 0;  // of tokens[0]; earlier positions are in the KV cache
  // The sequence's blocks in order of position; covers first_position + tokens.size() positions.
  absl::Span<const BlockId> blocks;
  bool trace = false;  // whether StepOutput::picks must hold this chunk's tokens
  // What is asked of the routers; null: nothing. Only of a model that says that it takes it.
  const ExpertControl* control = nullptr;
  int64_t control_token = 0;  // which of the control's tokens tokens[0] is
};

// Copied before anything is computed.
struct BlockCopy {
  BlockId from = 0;
  BlockId to = 0;
};

// What to report of the distribution that follows one token of a chunk. Either a token is sampled
// (and remembered by the slot), or the given targets are scored; one row may have many targets.
struct OutputRow {
  int32_t chunk = 0;  // index into StepInput::chunks
  int32_t row = 0;    // index into that chunk's tokens
  bool sample = false;
  absl::Span<const TokenId> targets;  // empty when `sample`
  // Most likely tokens to report, 0..20; -1: not even the token's own log-probability is needed.
  int32_t alternatives = -1;
};

// One token's hidden state to report: its row of the residual stream behind so many layers. Layer 0
// is what enters the first layer (the embedding), and num_layers + 1 what the output head reads:
// the row behind the last layer after the final norm.
struct HiddenRow {
  int32_t chunk = 0;  // index into StepInput::chunks
  int32_t row = 0;    // index into that chunk's tokens
  int32_t layer = 0;  // 0..num_layers + 1
};

// Spans are the caller's and stay valid during Step.
struct StepInput {
  absl::Span<const BlockCopy> copies;
  absl::Span<const Chunk> chunks;
  absl::Span<const OutputRow> rows;
  absl::Span<const HiddenRow> hidden_rows = {};
};

// Log-probabilities are natural logarithms of the raw distribution: before bias, penalties,
// temperature and truncation. NaN where none was asked for.
struct TokenScore {
  TokenId token = 0;
  float logprob = 0;
  uint32_t rank = 0;  // 1 + tokens with a higher logit, or an equal logit and a lower id
};

struct TokenAlternative {
  TokenId token = 0;
  float logprob = 0;
};

struct RowOutput {
  absl::Span<const TokenScore> tokens;              // the sampled token, or one entry per target
  absl::Span<const TokenAlternative> alternatives;  // most likely first
};

// Spans are the model's and stay valid until the next Step.
struct StepOutput {
  absl::Span<const RowOutput> rows;             // parallel to StepInput::rows
  absl::Span<const absl::Status> chunk_status;  // parallel to StepInput::chunks; a chunk that
                                                // failed (NaN) has no usable rows
  // By expert layer, [all tokens of the step, chunk after chunk]; defined for the chunks that asked
  // for a trace. Empty when the model was loaded without traces.
  absl::Span<const ExpertPicks> picks;
  // Parallel to StepInput::hidden_rows: [hidden_size] each.
  absl::Span<const absl::Span<const float>> hidden = {};
};

// What a model is, for ModelService and for planning.
struct ModelDescription {
  std::string architecture;  // "llama", "mixtral", "peerage"
  std::string fingerprint;   // SHA-256 over the weight files, hex
  uint64_t total_parameters = 0;
  uint64_t active_parameters = 0;  // touched by one token
  uint32_t num_layers = 0;
  uint32_t hidden_size = 0;
  uint32_t vocabulary_size = 0;
  uint32_t context_length = 0;
  std::string weights_dtype;  // of the projections: "f32", "bf16", "q8_0", "q4_1"
  uint64_t weights_bytes = 0;
  uint64_t kv_bytes_per_token = 0;
  std::string device;                      // "cpu"
  std::string kernel_target;               // "AVX2", "AVX3", "AVX3_DL", ...
  std::vector<ExpertLayer> expert_layers;  // in the order a token meets them; none: a dense model
  bool takes_expert_control = false;       // Chunk::control
};

// How much of a model's memory the engine may use; fixed when the model is made.
struct ModelCapacity {
  int32_t block_tokens = 0;  // positions of one KV block
  int32_t num_blocks = 0;
  int32_t num_slots = 0;
  int32_t max_step_tokens = 0;  // over all chunks of a step
};

// The seam between server and tensors: a model on one device, with per-sequence slots.
//
// Threads: none; one worker's thread calls everything.
// Batch invariance (CPU): a row's results are bit-equal whatever else is in the step, however its
// sequence is cut into chunks, and however many threads the model uses.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  virtual const ModelDescription& description() const = 0;
  virtual const ModelCapacity& capacity() const = 0;

  // Starts a sequence, or goes on with one: its KV blocks are the caller's business (shared ids,
  // BlockCopy). Precondition: the slot is closed.
  virtual void Open(SlotId slot, const SlotState& state) = 0;

  virtual void Close(SlotId slot) = 0;

  // Computes one step. An error means that nothing of the step is usable, and UNAVAILABLE that the
  // device is lost: no later step will be.
  virtual absl::StatusOr<StepOutput> Step(const StepInput& input) = 0;

  // Copies into `counts` ([num_experts], or empty: the totals alone are wanted) what one expert
  // layer (an index into description().expert_layers) counted since the model was loaded or
  // ClearUsage was called, and returns what it counted beside them: every token of every step. A
  // model that does not count returns and writes zeros.
  virtual UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) = 0;
  // Copies into `counts` ([heads][2 halves][num_sub_keys]) how often each sub-key of an expert
  // layer with product keys led to a pick, of one token in kTokensPerSample since then.
  virtual void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) = 0;
  virtual void ClearUsage() = 0;
};

}  // namespace peerage
