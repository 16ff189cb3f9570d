// The CPU's kernels beside ATen in f64, on odd sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "model/kernels/attention.h"
#include "model/kernels/gated_activation.h"
#include "model/kernels/linear.h"
#include "model/kernels/logits.h"
#include "model/kernels/norm.h"
#include "model/kernels/product_keys.h"
#include "model/nn/cpu/storage.h"
#include "tests/oracle/aten.h"

namespace peerage::kernels {
namespace {

// A matrix [outputs, depth] as the kernels want it.
class Packed {
 public:
  Packed(const at::Tensor& weight, WeightFormat format) {
    matrix_ = {.format = format,
               .outputs = static_cast<int>(weight.size(0)),
               .depth = static_cast<int>(weight.size(1))};
    storage_ = *nn::cpu::Storage::Allocate(matrix_.Bytes(), nn::cpu::Pages::kNormal);
    Pack({.shape = matrix_,
          .num_rows = matrix_.outputs,
          .rows = static_cast<const uint8_t*>(weight.data_ptr())},
         storage_.data());
    matrix_.tiles = storage_.data();
  }

  at::Tensor Times(const at::Tensor& x) const {
    at::Tensor y = at::empty({x.size(0), matrix_.outputs}, at::kFloat);
    Linear({.weights = matrix_,
            .x = Floats(x),
            .x_stride = static_cast<size_t>(x.size(1)),
            .tokens = static_cast<int>(x.size(0)),
            .y = Floats(y),
            .y_stride = static_cast<size_t>(y.size(1))},
           0, matrix_.num_tiles());
    return y;
  }

 private:
  nn::cpu::Storage storage_;
  PackedMatrix matrix_;
};

TEST(KernelsOracle, Linear) {
  for (const auto& [outputs, depth] :
       {std::pair(1, 1), std::pair(31, 33), std::pair(33, 577), std::pair(97, 257)}) {
    const at::Tensor weight = Normal({outputs, depth}, outputs);
    for (const int tokens : {1, 3, 31, 33, 257}) {
      SCOPED_TRACE(testing::Message() << outputs << " x " << depth << ", " << tokens << " tokens");
      const at::Tensor x = Normal({tokens, depth}, tokens);
      const at::Tensor doubles = x.to(at::kDouble);
      ExpectNear(Packed(weight, WeightFormat::kF32).Times(x),
                 at::linear(doubles, weight.to(at::kDouble)), 2e-6);
      const at::Tensor rounded = weight.to(at::kBFloat16);
      ExpectNear(Packed(rounded, WeightFormat::kBF16).Times(x),
                 at::linear(doubles, rounded.to(at::kDouble)), 2e-6);
    }
  }
}

TEST(KernelsOracle, Norms) {
  constexpr float kEpsilon = 1e-5f;
  for (const int64_t width : {1, 3, 31, 33, 257, 576}) {
    for (const int64_t rows : {1, 7}) {
      SCOPED_TRACE(testing::Message() << rows << " rows of " << width);
      const at::Tensor x = Normal({rows, width}, 1) * 3 + 0.5;
      const at::Tensor weight = Normal({width}, 2);
      at::Tensor y = at::empty({rows, width}, at::kFloat);
      const NormArgs args{.x = Floats(x),
                          .x_stride = static_cast<size_t>(width),
                          .weight = Floats(weight),
                          .epsilon = kEpsilon,
                          .width = static_cast<int>(width),
                          .y = Floats(y),
                          .y_stride = static_cast<size_t>(width)};
      const at::Tensor doubles = x.to(at::kDouble), scale = weight.to(at::kDouble);

      RmsNorm(args, 0, static_cast<int>(rows));
      ExpectNear(y, at::rms_norm(doubles, {width}, scale, kEpsilon), 2e-6);
      LayerNorm(args, 0, static_cast<int>(rows));
      ExpectNear(y, at::layer_norm(doubles, {width}, scale, {}, kEpsilon), 4e-6);
    }
  }
}

TEST(KernelsOracle, GatedActivations) {
  const std::vector<std::pair<Activation, at::Tensor (*)(const at::Tensor&)>> functions = {
      {Activation::kSilu, [](const at::Tensor& x) { return at::silu(x); }},
      {Activation::kGelu, [](const at::Tensor& x) { return at::gelu(x, "none"); }},
      {Activation::kGeluTanh, [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
      {Activation::kRelu, [](const at::Tensor& x) { return at::relu(x); }},
  };
  for (const int64_t width : {1, 31, 33, 1537}) {
    const at::Tensor gate = Normal({3, width}, 3) * 4, up = Normal({3, width}, 4);
    for (const auto& [function, aten] : functions) {
      SCOPED_TRACE(testing::Message()
                   << "function " << static_cast<int>(function) << ", " << width);
      at::Tensor y = at::empty({3, width}, at::kFloat);
      const auto stride = static_cast<size_t>(width);
      GatedActivation({.function = function,
                       .gate = Floats(gate),
                       .up = Floats(up),
                       .in_stride = stride,
                       .width = static_cast<int>(width),
                       .y = Floats(y),
                       .y_stride = stride},
                      0, 3);
      ExpectNear(y, aten(gate.to(at::kDouble)) * up.to(at::kDouble), 2e-6);
    }
  }
}

// Attention of one sequence over a paged cache, its blocks in reverse order.
at::Tensor OverPages(const AttentionShape& shape, const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v) {
  const int tokens = static_cast<int>(q.size(0));
  const size_t kv_width = static_cast<size_t>(shape.kv_heads) * shape.head_dim;
  std::vector<int32_t> blocks((tokens + kBlockTokens - 1) / kBlockTokens);
  std::iota(blocks.rbegin(), blocks.rend(), 0);
  std::vector<float> cache(blocks.size() * KvBlockFloats(shape));
  for (int t = 0; t < tokens; ++t) {
    StoreKv({shape, &cache[blocks[t / kBlockTokens] * KvBlockFloats(shape)], t,
             Floats(k) + t * kv_width, Floats(v) + t * kv_width});
  }
  at::Tensor out = at::empty(q.sizes(), at::kFloat);
  const size_t width = static_cast<size_t>(shape.heads) * shape.head_dim;
  const AttentionArgs args{shape,       Floats(q), width, cache.data(), KvBlockFloats(shape),
                           Floats(out), width};
  for (int row = 0; row < tokens; row += kAttentionTokens) {
    const int rows = std::min(kAttentionTokens, tokens - row);
    for (int head = 0; head < shape.kv_heads; ++head) {
      Attention(args, {row, rows, row, head, blocks.data()});
    }
  }
  return out;
}

TEST(KernelsOracle, AttentionOfGroupedHeads) {
  struct Case {
    int heads, kv_heads, head_dim;
  };
  for (const Case& c : {Case{1, 1, 1}, Case{3, 1, 5}, Case{4, 2, 33}, Case{9, 3, 64},
                        Case{5, 5, 127}, Case{2, 1, 256}}) {
    for (const int64_t tokens : {1, 31, 33, 70}) {
      SCOPED_TRACE(testing::Message() << c.heads << " heads on " << c.kv_heads << " of "
                                      << c.head_dim << ", " << tokens << " tokens");
      const AttentionShape shape{c.heads, c.kv_heads, c.head_dim,
                                 1 / std::sqrt(static_cast<float>(c.head_dim))};
      const at::Tensor q = Normal({tokens, c.heads, c.head_dim}, 5);
      const at::Tensor k = Normal({tokens, c.kv_heads, c.head_dim}, 6);
      const at::Tensor v = Normal({tokens, c.kv_heads, c.head_dim}, 7);
      // [1, heads, tokens, head_dim], each KV head as often as it is used.
      const auto of = [&](const at::Tensor& x) {
        return x.to(at::kDouble)
            .transpose(0, 1)
            .repeat_interleave(c.heads / x.size(1), 0)
            .unsqueeze(0);
      };
      const at::Tensor expected =
          at::scaled_dot_product_attention(of(q), of(k), of(v), {}, 0.0, /*is_causal=*/true)
              .squeeze(0)
              .transpose(0, 1);
      ExpectNear(OverPages(shape, q, k, v), expected, 2e-6);
    }
  }
}

TEST(KernelsOracle, SoftmaxOfLogits) {
  for (const int64_t size : {1, 3, 33, 257, 49'157}) {
    const at::Tensor logits = Normal({size}, 8) * 5;
    const std::span<const float> values(Floats(logits), size);
    const at::Tensor doubles = logits.to(at::kDouble);
    EXPECT_NEAR(LogSumExp(values), at::logsumexp(doubles, 0).item<double>(), 1e-5) << size;
    for (const float temperature : {0.3f, 1.0f, 2.5f}) {
      at::Tensor weights = at::empty({size}, at::kFloat);
      SoftmaxWeights(values, temperature, {Floats(weights), static_cast<size_t>(size)});
      ExpectNear(weights / weights.to(at::kDouble).sum(), at::softmax(doubles / temperature, 0),
                 2e-6);
    }
  }
}

// The first k ids of each row, highest value first, lower id first on ties: ATen's stable sort.
at::Tensor SortedIds(const at::Tensor& scores, int64_t k) {
  const auto sorted = at::sort(scores, /*stable=*/true, -1, /*descending=*/true);
  return std::get<1>(sorted).narrow(-1, 0, k);
}

TEST(KernelsOracle, TopKWithTies) {
  for (const int64_t n : {1, 3, 31, 33, 257, 1024}) {
    for (const int64_t k : {1, 2, 16, 33, 128}) {
      if (k > n) continue;
      SCOPED_TRACE(testing::Message() << k << " of " << n);
      const at::Tensor scores = (Normal({5, n}, 9) * 4).round();  // few different values
      at::Tensor values = at::empty({5, k}, at::kFloat), ids = at::empty({5, k}, at::kInt);
      TopK({.scores = Floats(scores),
            .stride = static_cast<size_t>(n),
            .rows = 5,
            .n = static_cast<int>(n),
            .k = static_cast<int>(k),
            .values = Floats(values),
            .ids = ids.data_ptr<int32_t>()});
      const at::Tensor expected = SortedIds(scores, k);
      EXPECT_TRUE(at::equal(ids.to(at::kLong), expected));
      EXPECT_TRUE(at::equal(values, scores.gather(-1, expected)));
      EXPECT_TRUE(at::equal(values, std::get<0>(at::topk(scores, k))));
    }
  }
}

TEST(KernelsOracle, TopLogitsWithTies) {
  for (const int64_t size : {1, 33, 257, 5'003}) {
    const at::Tensor logits = (Normal({size}, 10) * 8).round();
    const std::span<const float> values(Floats(logits), size);
    std::vector<uint32_t> top(std::min<int64_t>(size, 20));
    TopK(values, top);
    const at::Tensor expected = SortedIds(logits, static_cast<int64_t>(top.size()));
    for (size_t i = 0; i < top.size(); ++i) {
      EXPECT_EQ(top[i], expected[static_cast<int64_t>(i)].item<int64_t>()) << i << " of " << size;
    }
    EXPECT_EQ(ArgMax(values), top[0]);
  }
}

}  // namespace
}  // namespace peerage::kernels
