#include "model/nn/cpu/product_key_router.h"

#include <algorithm>
#include <span>

#include "model/kernels/controlled_picks.h"
#include "model/kernels/logits.h"
#include "model/kernels/norm.h"
#include "model/nn/cpu/storage.h"

namespace peerage::nn::cpu {

// The lists of both halves' best sub-keys, in a thread's scratch memory.
struct ProductKeyRouter::Lists {
  float* values;       // [2][rows][listed]
  int32_t* ids;        // likewise
  float* log_sum_exp;  // [2][rows]
  uint8_t* rest;       // for the kernels

  static size_t Bytes(size_t rows, int listed) {
    return 2 * Arena::Padded(2 * rows * listed * sizeof(float)) +
           Arena::Padded(2 * rows * sizeof(float));
  }
  Lists(uint8_t* scratch, size_t rows, int listed) {
    const size_t list_bytes = Arena::Padded(2 * rows * listed * sizeof(float));
    values = reinterpret_cast<float*>(scratch);
    ids = reinterpret_cast<int32_t*>(scratch + list_bytes);
    log_sum_exp = reinterpret_cast<float*>(scratch + 2 * list_bytes);
    rest = scratch + Bytes(rows, listed);
  }
};

ProductKeyRouter ProductKeyRouter::Place(const ProductKeyRouterPlan& plan, WeightPlacer& placer) {
  const ProductKeyConfig& config = plan.config;
  ProductKeyRouter router;
  router.heads = config.heads;
  router.top_k = config.top_k;
  router.num_sub_keys = config.num_sub_keys;
  router.head_offset = config.per_head_experts ? static_cast<uint32_t>(config.num_experts) : 0;
  router.score = config.score;
  router.expert_layer = plan.expert_layer;
  const std::string bias = plan.bias.has_value() ? plan.bias->name : "";
  if (plan.norm.has_value() && plan.norm->running.has_value()) {
    const FoldedQuery query = placer.FoldedRouter(plan.query.name, bias, *plan.norm);
    router.query = query.matrix;
    router.bias = query.bias;
  } else {
    router.query = placer.Router({plan.query.name});
    if (!bias.empty()) router.bias = placer.RouterVector(bias);
    if (plan.norm.has_value()) {
      router.layer_norm = {.weight = placer.RouterVector(plan.norm->weight.name),
                           .bias = placer.RouterVector(plan.norm->bias.name),
                           .epsilon = plan.norm->epsilon};
    }
  }
  if (plan.sub_keys.has_value()) router.keys = placer.SubKeySets(plan.sub_keys->name);
  return router;
}

void ProductKeyRouter::Project(kernels::ThreadPool& pool, const Activations& input,
                               float* queries) const {
  query.Forward(pool, input, {.y = queries, .stride = static_cast<size_t>(query.outputs())});
}

size_t ProductKeyRouter::ScratchBytes() const {
  const size_t rows = size_t{kMaxPartTokens} * (heads_differ() ? 1 : heads);
  const size_t kernel_bytes =
      keys.empty() ? 0 : kernels::SubKeyTopKScratch(num_sub_keys, query_width() / 2);
  // All scores of one row, and as much again: for figures, and for what requests ask.
  const size_t row_bytes = 2 * ScoresRoom() * sizeof(float);
  return std::max(Lists::Bytes(rows, listed()) + kernel_bytes, row_bytes);
}

void ProductKeyRouter::Route(const Part& part, const StepBatch& batch, float* queries,
                             const PickBuffer& picks, uint8_t* scratch) const {
  FinishQueries(part, queries);
  const int tokens = part.end_token - part.first_token;
  const size_t width = query_width();
  const auto group = [&](int head, int rows, size_t step) {
    const size_t first = size_t(part.first_token) * heads + head;
    return Group{.rows = rows,
                 .queries = queries + first * width,
                 .stride = step * width,
                 .head = head,
                 .picks = {picks.ids + first * top_k, picks.weights + first * top_k},
                 .picks_stride = step * top_k};
  };
  if (!heads_differ()) {
    RouteGroup(group(part.first_head, tokens * (part.end_head - part.first_head), 1), scratch);
  } else {
    for (int head = part.first_head; head < part.end_head; ++head) {
      RouteGroup(group(head, tokens, heads), scratch);
    }
  }
  if (!batch.has_control()) return;
  for (int token = part.first_token; token < part.end_token; ++token) {
    const TokenControl control = batch.ControlOf(token, expert_layer);
    if (control.layer == nullptr) continue;
    for (int head = part.first_head; head < part.end_head; ++head) {
      ApplyControl({token, head, control}, queries, picks, scratch);
    }
  }
}

void ProductKeyRouter::ApplyControl(const Controlled& controlled, const float* queries,
                                    const PickBuffer& picks, uint8_t* scratch) const {
  const auto& [token, head, control] = controlled;
  const size_t first = (size_t(token) * heads + head) * top_k;
  uint32_t* ids = picks.ids + first;
  float* weights = picks.weights + first;
  const bool forced = !control.ids.empty();
  if (forced) std::copy_n(control.ids.begin() + size_t(head) * top_k, top_k, ids);
  if (!control.weights.empty()) {
    std::copy_n(control.weights.begin() + size_t(head) * top_k, top_k, weights);
    return;
  }
  float* room = reinterpret_cast<float*>(scratch);
  const HalfScores scores = ScoresOf(token, head, queries, room);
  const kernels::ControlledPicksArgs args{
      .scores = {scores.of[0], scores.of[1]},
      .score = score,
      .first_id = head_offset * head,
      .control = control.layer,
      .k = top_k,
      .scratch = {reinterpret_cast<uint32_t*>(room + ScoresRoom()), size_t{2} * num_sub_keys},
      .ids = ids,
      .weights = weights};
  forced ? kernels::WeighForcedPicks(args) : kernels::PickUnderControl(args);
}

ProductKeyRouter::HalfScores ProductKeyRouter::ScoresOf(int token, int head, const float* queries,
                                                        float* room) const {
  const size_t half_width = query_width() / 2;
  const float* query = queries + (size_t(token) * heads + head) * query_width();
  HalfScores result;
  for (int half = 0; half < 2; ++half) {
    const float* scores = query + half * half_width;
    if (!keys.empty()) {
      float* computed = room + half * kernels::SubKeyScoreStride(num_sub_keys);
      kernels::ScoreSubKeys(keys_of(head, half), scores, computed);
      scores = computed;
    }
    result.of[half] = {scores, static_cast<size_t>(num_sub_keys)};
  }
  return result;
}

kernels::RouterFigures ProductKeyRouter::FiguresOf(int token, int head, const float* queries,
                                                   const PickBuffer& picks,
                                                   uint8_t* scratch) const {
  const size_t n = num_sub_keys, row = size_t(token) * heads + head;
  float* room = reinterpret_cast<float*>(scratch);
  const HalfScores scores = ScoresOf(token, head, queries, room);
  return kernels::ProductKeyFigures({.scores = {scores.of[0], scores.of[1]},
                                     .ids = {picks.ids + row * top_k, static_cast<size_t>(top_k)},
                                     .first_id = head_offset * head,
                                     .scratch = {room + ScoresRoom(), 2 * n}});
}

void ProductKeyRouter::FinishQueries(const Part& part, float* queries) const {
  if (bias == nullptr && layer_norm.weight == nullptr) return;
  const int width = query_width();
  for (int token = part.first_token; token < part.end_token; ++token) {
    float* first = queries + (size_t(token) * heads + part.first_head) * width;
    const int rows = part.end_head - part.first_head;
    if (bias != nullptr) {
      const float* b = bias + size_t(part.first_head) * width;
      for (int i = 0; i < rows * width; ++i) first[i] += b[i];
    }
    if (layer_norm.weight == nullptr) continue;
    kernels::LayerNorm({.x = first,
                        .x_stride = static_cast<size_t>(width),
                        .weight = layer_norm.weight,
                        .epsilon = layer_norm.epsilon,
                        .width = width,
                        .y = first,
                        .y_stride = static_cast<size_t>(width)},
                       0, rows);
    for (int row = 0; row < rows; ++row) {
      for (int i = 0; i < width; ++i) first[row * width + i] += layer_norm.bias[i];
    }
  }
}

void ProductKeyRouter::RouteGroup(const Group& group, uint8_t* scratch) const {
  const Lists lists(scratch, group.rows, listed());
  for (int half = 0; half < 2; ++half) ListBest(group, half, lists);
  kernels::CombineHalves({.rows = group.rows,
                          .n = num_sub_keys,
                          .listed = listed(),
                          .k = top_k,
                          .values = lists.values,
                          .ids = lists.ids,
                          .stride = static_cast<size_t>(listed()),
                          .half_stride = size_t(group.rows) * listed(),
                          .log_sum_exp = {lists.log_sum_exp, lists.log_sum_exp + group.rows},
                          .score = score,
                          .first_id = head_offset * group.head,
                          .expert_ids = group.picks.ids,
                          .weights = group.picks.weights,
                          .out_stride = group.picks_stride});
}

void ProductKeyRouter::ListBest(const Group& group, int half, const Lists& lists) const {
  const size_t at = size_t(half) * group.rows * listed();
  float* log_sum_exp = lists.log_sum_exp + size_t(half) * group.rows;
  const bool joint = score == RouterScore::kJointSoftmax;
  const float* queries = group.queries + size_t(half) * (query_width() / 2);
  if (!keys.empty()) {
    return kernels::SubKeyTopK({.keys = keys_of(group.head, half),
                                .queries = queries,
                                .stride = group.stride,
                                .rows = group.rows,
                                .k = listed(),
                                .values = lists.values + at,
                                .ids = lists.ids + at,
                                .out_stride = static_cast<size_t>(listed()),
                                .log_sum_exp = joint ? log_sum_exp : nullptr,
                                .scratch = lists.rest});
  }
  kernels::TopK({.scores = queries,
                 .stride = group.stride,
                 .rows = group.rows,
                 .n = num_sub_keys,
                 .k = listed(),
                 .values = lists.values + at,
                 .ids = lists.ids + at});
  for (int row = 0; joint && row < group.rows; ++row) {
    const float* scores = queries + row * group.stride;
    log_sum_exp[row] = kernels::LogSumExp(std::span<const float>(scores, num_sub_keys));
  }
}

}  // namespace peerage::nn::cpu
