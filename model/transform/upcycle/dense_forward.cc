#include "model/transform/upcycle/dense_forward.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/kernels/attention.h"
#include "model/kernels/gated_activation.h"
#include "model/kernels/linear.h"
#include "model/kernels/norm.h"
#include "model/kernels/rotary.h"
#include "model/transform/tensor_values.h"

namespace peerage::transform {
namespace {

struct alignas(64) CacheLine {
  uint8_t bytes[64];
};

// What one sequence's attention works on.
struct AttentionRows {
  float* q = nullptr;  // [tokens][heads * head_dim]
  float* k = nullptr;  // [tokens][kv_heads * head_dim]
  const float* v = nullptr;
  float* out = nullptr;  // as q
  int tokens = 0;
};

// The attention of one sequence: rotation, then every token with all before it.
class SequenceAttention {
 public:
  SequenceAttention(const ModelConfig& config, const AttentionRows& rows)
      : config_(config),
        rows_(rows),
        shape_{.heads = config.num_heads,
               .kv_heads = config.num_kv_heads,
               .head_dim = config.head_dim,
               .scale = 1 / std::sqrt(static_cast<float>(config.head_dim))},
        blocks_((rows.tokens + kernels::kBlockTokens - 1) / kernels::kBlockTokens),
        kv_(blocks_.size() * kernels::KvBlockFloats(shape_)) {
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  void Run() {
    for (int t = 0; t < rows_.tokens; ++t) RotateAndStore(t);
    const kernels::AttentionArgs args{.shape = shape_,
                                      .q = rows_.q,
                                      .q_stride = query_width(),
                                      .kv = kv_.data(),
                                      .block_stride = kernels::KvBlockFloats(shape_),
                                      .out = rows_.out,
                                      .out_stride = query_width()};
    for (int t = 0; t < rows_.tokens; t += kernels::kAttentionTokens) {
      for (int head = 0; head < shape_.kv_heads; ++head) {
        kernels::Attention(args, {.row = t,
                                  .tokens = std::min(kernels::kAttentionTokens, rows_.tokens - t),
                                  .position = t,
                                  .kv_head = head,
                                  .blocks = blocks_.data()});
      }
    }
  }

 private:
  size_t query_width() const { return size_t(shape_.heads) * shape_.head_dim; }
  size_t kv_width() const { return size_t(shape_.kv_heads) * shape_.head_dim; }

  void RotateAndStore(int t) {
    std::vector<float> cos(shape_.head_dim / 2), sin(shape_.head_dim / 2);
    kernels::RotaryAngles(t, config_.rope_theta, shape_.head_dim, cos.data(), sin.data());
    kernels::RotaryArgs rotary{.x = rows_.q + t * query_width(),
                               .heads = shape_.heads,
                               .head_dim = shape_.head_dim,
                               .interleaved = config_.rope_interleaved,
                               .cos = cos.data(),
                               .sin = sin.data()};
    kernels::Rotate(rotary);
    rotary.x = rows_.k + t * kv_width();
    rotary.heads = shape_.kv_heads;
    kernels::Rotate(rotary);
    const size_t block = t / kernels::kBlockTokens;
    kernels::StoreKv({.shape = shape_,
                      .block = kv_.data() + block * kernels::KvBlockFloats(shape_),
                      .position = t,
                      .k = rows_.k + t * kv_width(),
                      .v = rows_.v + t * kv_width()});
  }

  const ModelConfig& config_;
  const AttentionRows rows_;
  const kernels::AttentionShape shape_;
  std::vector<int32_t> blocks_;
  std::vector<float> kv_;
};

}  // namespace

absl::StatusOr<DenseForward> DenseForward::Start(const Checkpoint& checkpoint,
                                                 std::vector<TokenSequence> sequences) {
  if (const int head_dim = checkpoint.config().head_dim; head_dim > kernels::kMaxHeadDim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "head_dim is ", head_dim, ", and attention takes at most ", kernels::kMaxHeadDim));
  }
  DenseForward forward(checkpoint, std::move(sequences));
  for (const TokenSequence& sequence : forward.sequences_) {
    forward.tokens_ += static_cast<int>(sequence.size());
  }
  RETURN_IF_ERROR(forward.Embed());
  return forward;
}

absl::Status DenseForward::Embed() {
  const TensorInfo& embedding = *checkpoint_.Find("model.embed_tokens.weight");
  for (const TokenSequence& sequence : sequences_) {
    for (const TokenId token : sequence) {
      ASSIGN_OR_RETURN(const std::vector<float> row,
                       ReadFiniteRows(checkpoint_, embedding, token, 1));
      residual_.insert(residual_.end(), row.begin(), row.end());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<DenseForward::LayerInputs> DenseForward::RunLayer() {
  LayerInputs inputs;
  ASSIGN_OR_RETURN(inputs.attention, Normalize("input_norm.weight"));
  ASSIGN_OR_RETURN(const std::vector<float> attended, Attend(inputs.attention));
  AddToResidual(attended);
  if (checkpoint_.config().parallel_block) {
    inputs.ffn = inputs.attention;
  } else {
    ASSIGN_OR_RETURN(inputs.ffn, Normalize("post_attention_norm.weight"));
  }
  ASSIGN_OR_RETURN(const std::vector<float> transformed, FeedForward(inputs.ffn));
  AddToResidual(transformed);
  ++layer_;
  return inputs;
}

absl::StatusOr<std::vector<float>> DenseForward::Normalize(const std::string& norm) const {
  const ModelConfig& config = checkpoint_.config();
  const TensorInfo& tensor = *checkpoint_.Find(NameInLayer(norm));
  ASSIGN_OR_RETURN(const std::vector<float> weight,
                   ReadFiniteRows(checkpoint_, tensor, 0, config.hidden_size));
  std::vector<float> normed(residual_.size());
  const size_t width = config.hidden_size;
  const kernels::NormArgs args{.x = residual_.data(),
                               .x_stride = width,
                               .weight = weight.data(),
                               .epsilon = config.norm_eps,
                               .width = config.hidden_size,
                               .y = normed.data(),
                               .y_stride = width};
  if (config.norm_type == NormType::kRmsNorm) {
    kernels::RmsNorm(args, 0, tokens_);
  } else {
    kernels::LayerNorm(args, 0, tokens_);
  }
  return normed;
}

absl::StatusOr<std::vector<float>> DenseForward::Attend(const std::vector<float>& input) const {
  ASSIGN_OR_RETURN(std::vector<float> q, Multiply("attention.q_proj.weight", input));
  ASSIGN_OR_RETURN(std::vector<float> k, Multiply("attention.k_proj.weight", input));
  ASSIGN_OR_RETURN(const std::vector<float> v, Multiply("attention.v_proj.weight", input));
  std::vector<float> out(q.size());
  const size_t q_width = q.size() / tokens_, k_width = k.size() / tokens_;
  size_t first = 0;
  for (const TokenSequence& sequence : sequences_) {
    SequenceAttention(checkpoint_.config(), {.q = q.data() + first * q_width,
                                             .k = k.data() + first * k_width,
                                             .v = v.data() + first * k_width,
                                             .out = out.data() + first * q_width,
                                             .tokens = static_cast<int>(sequence.size())})
        .Run();
    first += sequence.size();
  }
  return Multiply("attention.o_proj.weight", out);
}

absl::StatusOr<std::vector<float>> DenseForward::FeedForward(
    const std::vector<float>& input) const {
  ASSIGN_OR_RETURN(const std::vector<float> gate, Multiply("ffn.dense.gate_proj.weight", input));
  ASSIGN_OR_RETURN(const std::vector<float> up, Multiply("ffn.dense.up_proj.weight", input));
  std::vector<float> gated(gate.size());
  const size_t width = gate.size() / tokens_;
  kernels::GatedActivation({.function = checkpoint_.config().activation,
                            .gate = gate.data(),
                            .up = up.data(),
                            .in_stride = width,
                            .width = static_cast<int>(width),
                            .y = gated.data(),
                            .y_stride = width},
                           0, tokens_);
  return Multiply("ffn.dense.down_proj.weight", gated);
}

absl::StatusOr<std::vector<float>> DenseForward::Multiply(const std::string& matrix,
                                                          const std::vector<float>& input) const {
  const TensorInfo& tensor = *checkpoint_.Find(NameInLayer(matrix));
  kernels::PackedMatrix packed{.outputs = static_cast<int>(tensor.shape[0]),
                               .depth = static_cast<int>(tensor.shape[1])};
  std::vector<CacheLine> tiles((packed.Bytes() + sizeof(CacheLine) - 1) / sizeof(CacheLine));
  const int at_once = static_cast<int>(std::max<int64_t>(1, kElementsAtOnce / packed.depth));
  for (int first = 0; first < packed.outputs; first += at_once) {
    const int rows = std::min(at_once, packed.outputs - first);
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     ReadFiniteRows(checkpoint_, tensor, first, rows));
    kernels::Pack({.shape = packed,
                   .first_output = first,
                   .num_rows = rows,
                   .rows = reinterpret_cast<const uint8_t*>(values.data())},
                  tiles.front().bytes);
  }
  packed.tiles = tiles.front().bytes;
  std::vector<float> output(size_t(tokens_) * packed.outputs);
  kernels::Linear({.weights = packed,
                   .x = input.data(),
                   .x_stride = static_cast<size_t>(packed.depth),
                   .tokens = tokens_,
                   .y = output.data(),
                   .y_stride = static_cast<size_t>(packed.outputs)},
                  0, packed.num_tiles());
  return output;
}

std::string DenseForward::NameInLayer(const std::string& tensor) const {
  return absl::StrCat("model.layers.", layer_, ".", tensor);
}

void DenseForward::AddToResidual(const std::vector<float>& output) {
  for (size_t i = 0; i < residual_.size(); ++i) residual_[i] += output[i];
}

}  // namespace peerage::transform
