#include "model/checkpoint/config/common_config.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/config_limits.h"

namespace peerage {
namespace {

constexpr HeadKeys kHeadKeys{"num_attention_heads", "num_key_value_heads", "head_dim"};

absl::StatusOr<int> ParseHeadDim(JsonObject& config, int hidden_size, int num_heads) {
  if (config.Find("head_dim") != nullptr) return config.Int("head_dim", kHeadDimRange);
  const int head_dim = hidden_size / num_heads;
  if (head_dim * num_heads != hidden_size || head_dim < kHeadDimRange.min ||
      head_dim > kHeadDimRange.max) {
    return config.Error("head_dim",
                        absl::StrCat("is missing, and hidden_size ", hidden_size,
                                     " / num_attention_heads ", num_heads, " does not give it"));
  }
  config.NoteDefault("head_dim", absl::StrCat(head_dim));
  return head_dim;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseCommonKeys(JsonObject& config) {
  ModelConfig model;
  ASSIGN_OR_RETURN(model.vocab_size, config.Int("vocab_size", kVocabSizeRange));
  ASSIGN_OR_RETURN(model.hidden_size, config.Int("hidden_size", kHiddenSizeRange));
  ASSIGN_OR_RETURN(model.num_heads, config.Int("num_attention_heads", kNumHeadsRange));
  ASSIGN_OR_RETURN(model.num_kv_heads,
                   config.Int("num_key_value_heads", kNumHeadsRange, model.num_heads));
  ASSIGN_OR_RETURN(model.head_dim, ParseHeadDim(config, model.hidden_size, model.num_heads));
  RETURN_IF_ERROR(CheckHeads(model, kHeadKeys));
  ASSIGN_OR_RETURN(model.max_positions, config.Int("max_position_embeddings", kMaxPositionsRange));
  ASSIGN_OR_RETURN(model.tied_embeddings, config.Bool("tie_word_embeddings", false));
  const IntRange token_range{0, model.vocab_size - 1};
  if (config.Find("bos_token_id") != nullptr) {
    ASSIGN_OR_RETURN(model.bos_id, config.Int("bos_token_id", token_range));
  }
  ASSIGN_OR_RETURN(const std::vector<int> eos_ids, config.Ints("eos_token_id", token_range));
  model.eos_ids.assign(eos_ids.begin(), eos_ids.end());
  return model;
}

}  // namespace peerage
