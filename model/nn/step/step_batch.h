#pragma once

#include <cstdint>
#include <vector>

#include "model/experts/expert_control.h"
#include "model/language_model.h"

namespace peerage::nn {

// The tokens of one step laid out flat, chunk after chunk: what every device starts from. Reused
// from step to step: after the first steps nothing is allocated.
class StepBatch {
 public:
  struct Token {
    TokenId id = 0;
    int32_t position = 0;
    BlockId block = 0;  // the KV block that holds the position
  };

  // `block_tokens`: positions of one KV block.
  explicit StepBatch(int block_tokens) : block_tokens_(block_tokens) {}

  // The input's spans stay in use until the next call.
  void Assign(const StepInput& input);

  int size() const { return static_cast<int>(tokens_.size()); }
  absl::Span<const Token> tokens() const { return tokens_; }
  absl::Span<const Chunk> chunks() const { return chunks_; }
  absl::Span<const BlockCopy> copies() const { return copies_; }

  // Index into tokens() of a chunk's first token.
  int first_token(int chunk) const { return first_tokens_[chunk]; }

  // Whether anything is asked of any token's routers, and what is asked of one token's in one of
  // the model's expert layers.
  bool has_control() const { return !controls_.empty(); }
  TokenControl ControlOf(int token, int expert_layer) const {
    if (!has_control() || controls_[token].control == nullptr) return {};
    return controls_[token].control->Of(expert_layer, controls_[token].token);
  }

 private:
  struct Controlled {
    const ExpertControl* control = nullptr;
    int64_t token = 0;  // which of the control's
  };
  void AssignControls();

  const int block_tokens_;
  std::vector<Token> tokens_;
  std::vector<Controlled> controls_;  // by token; none when nobody asks anything
  std::vector<int> first_tokens_;     // by chunk
  absl::Span<const Chunk> chunks_;
  absl::Span<const BlockCopy> copies_;
};

}  // namespace peerage::nn
