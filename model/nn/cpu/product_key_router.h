#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/kernels/product_keys.h"
#include "model/kernels/router_figures.h"
#include "model/nn/cpu/expert_counters.h"
#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/plan/product_key_plan.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn::cpu {

// Finds each token's experts by product keys (He 2024, section 2.1):
//
//   q = norm(W_q x + b);  s1 = K1 q[:key_dim/2],  s2 = K2 q[key_dim/2:]
//   picks = the top k of s1[i] + s2[j] over the top k of each;  id = i * n + j
//
// With direct keys (Doge, OmniMoE) a matrix gives s1 and s2 of every head from x. What a request
// asks of the router (model/experts/expert_control.h) is done afterwards, to its own tokens alone.
struct ProductKeyRouter {
  LinearLayer query;            // rows (head, component); direct: rows (head, half, sub-key)
  const float* bias = nullptr;  // [query outputs]; batch norm is folded into both

  // Layer norm of each head's query; without a weight there is none.
  struct QueryLayerNorm {
    const float* weight = nullptr;  // [key_dim]
    const float* bias = nullptr;    // [key_dim]
    float epsilon = 0;
  };
  QueryLayerNorm layer_norm = {};

  // [heads][2 halves], or [2] when the heads share them; empty: direct.
  std::vector<kernels::SubKeys> keys = {};
  int heads = 0;
  int top_k = 0;
  int num_sub_keys = 0;      // n
  uint32_t head_offset = 0;  // between the ids of neighbouring heads; 0: one pool of experts
  RouterScore score = RouterScore::kSoftmax;
  int expert_layer = 0;  // index into the model's expert layers

  static ProductKeyRouter Place(const ProductKeyRouterPlan& plan, WeightPlacer& placer);

  // Queries (or direct scores) of all tokens, [tokens][query outputs].
  void Project(kernels::ThreadPool& pool, const Activations& input, float* queries) const;

  // A thread's share: all heads of some tokens, or some heads of one token.
  struct Part {
    int first_token = 0;
    int end_token = 0;
    int first_head = 0;
    int end_head = 0;
  };
  static constexpr int kMaxPartTokens = 32;  // they share a pass over the sub-keys
  size_t ScratchBytes() const;
  // Overwrites the part's queries. `scratch` is 64-byte aligned and one thread's own.
  void Route(const Part& part, const StepBatch& batch, float* queries, const PickBuffer& picks,
             uint8_t* scratch) const;
  // How sure it was of one head's picks, from what Route left of the queries.
  kernels::RouterFigures FiguresOf(int token, int head, const float* queries,
                                   const PickBuffer& picks, uint8_t* scratch) const;

 private:
  // Rows of (token, head) that meet the same sub-keys and the same experts.
  struct Group {
    int rows = 0;
    const float* queries = nullptr;
    size_t stride = 0;  // between rows of `queries`
    int head = 0;       // the first
    PickBuffer picks;
    size_t picks_stride = 0;
  };
  struct Lists;
  void ListBest(const Group& group, int half, const Lists& lists) const;
  void RouteGroup(const Group& group, uint8_t* scratch) const;
  // A head's picks of a token that a request asks something of.
  struct Controlled {
    int token = 0;
    int head = 0;
    TokenControl control;
  };
  void ApplyControl(const Controlled& controlled, const float* queries, const PickBuffer& picks,
                    uint8_t* scratch) const;
  // s1 and s2 of a head's query, from `room` on where sub-keys give them.
  struct HalfScores {
    std::span<const float> of[2];
  };
  HalfScores ScoresOf(int token, int head, const float* queries, float* room) const;
  // Floats that these take at most, a multiple of 16.
  size_t ScoresRoom() const { return 2 * kernels::SubKeyScoreStride(num_sub_keys); }
  void FinishQueries(const Part& part, float* queries) const;

  int listed() const { return top_k < num_sub_keys ? top_k : num_sub_keys; }
  const kernels::SubKeys& keys_of(int head, int half) const {
    return keys[keys.size() == 2 ? half : 2 * head + half];
  }
  bool heads_differ() const { return keys.size() != 2 || head_offset != 0; }
  int query_width() const { return query.outputs() / heads; }
};

}  // namespace peerage::nn::cpu
