// Retrieval by product keys and its gradients. Scores of all sub-keys come from ATen's matrix
// product, one head's half and a few tokens at a time, so that they stay in the cache and do not
// depend on the number of threads; the best of them from the kernels that serving uses.
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "train/kernels/pick_runs.h"
#include "train/kernels/product_key_sums.h"
#include "train/kernels/table_rows.h"
#include "train/ops/elements.h"
#include "train/ops/router_arguments.h"

namespace peerage::train {
namespace {

constexpr int64_t kScoresAtOnce = 256 * 1024;  // f32 that stay in a core's L2 cache

struct Shape {
  Shape(const at::Tensor& queries, const at::Tensor& sub_keys)
      : tokens(queries.size(0)),
        heads(queries.size(1)),
        width(queries.size(3)),
        n(sub_keys.size(1)),
        shared(sub_keys.size(0) == 1) {}

  // The row of a table [heads or 1][n][2] that a head's half has a sub-key in.
  int64_t KeyRow(int64_t head, int64_t key, int half) const {
    return ((shared ? 0 : head) * n + key) * 2 + half;
  }

  int64_t tokens, heads, width, n;
  bool shared;
};

// The best `listed` of each half, [tokens][heads][2][listed]. V: float or double.
template <typename V>
struct HalfLists {
  HalfLists(const Shape& shape, int64_t listed)
      : values(shape.tokens * shape.heads * 2 * listed), ids(values.size()) {}
  std::vector<V> values;
  std::vector<int32_t> ids;
};

// Sub-key scores of tokens [first, end) of one head's half, and the best of each token.
template <typename V>
void ListBest(const at::Tensor& queries /* [tokens, width] */,
              const at::Tensor& keys /* [n, width] */, int64_t listed,
              kernels::ScoredList<V>* lists) {
  const at::Tensor scores = at::mm(queries, keys.t());
  const V* row = scores.const_data_ptr<V>();
  for (int64_t t = 0; t < queries.size(0); ++t) {
    kernels::BestOf({row + t * keys.size(0), keys.size(0), listed}, lists[t]);
  }
}

template <typename V>
HalfLists<V> BestOfHalves(const at::Tensor& queries, const at::Tensor& sub_keys, int64_t listed) {
  const Shape shape(queries, sub_keys);
  HalfLists<V> out(shape, listed);
  const int64_t at_once = std::clamp<int64_t>(kScoresAtOnce / shape.n, 16, 1024);
  const int64_t chunks = (shape.tokens + at_once - 1) / at_once;
  at::parallel_for(0, chunks * shape.heads * 2, 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    std::vector<kernels::ScoredList<V>> lists(at_once);
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t head = piece / 2 % shape.heads, half = piece % 2;
      const int64_t first = piece / 2 / shape.heads * at_once;
      const int64_t count = std::min(at_once, shape.tokens - first);
      for (int64_t t = 0; t < count; ++t) {
        const int64_t at = (((first + t) * shape.heads + head) * 2 + half) * listed;
        lists[t] = {out.values.data() + at, out.ids.data() + at};
      }
      ListBest<V>(queries.narrow(0, first, count).select(1, head).select(1, half),
                  sub_keys.select(0, shape.shared ? 0 : head).select(1, half), listed,
                  lists.data());
    }
  });
  return out;
}

std::tuple<at::Tensor, at::Tensor> ProductKeyTopKForward(const at::Tensor& queries,
                                                         const at::Tensor& sub_keys, int64_t top_k,
                                                         std::optional<int64_t> sub_top_k) {
  CheckRouter(queries, sub_keys, top_k, sub_top_k);
  const Shape shape(queries, sub_keys);
  const int64_t listed = std::min({sub_top_k.value_or(top_k), top_k, shape.n});
  const auto type = SumType(queries.scalar_type());
  at::Tensor ids =
      at::empty({shape.tokens, shape.heads, top_k}, queries.options().dtype(at::kLong));
  at::Tensor scores = at::empty(ids.sizes(), queries.options().dtype(type));
  const auto run = [&](auto value) {
    using V = decltype(value);
    const HalfLists<V> lists = BestOfHalves<V>(queries.to(type), sub_keys.to(type), listed);
    int64_t* id = MutableElements<int64_t>(ids);
    V* score = MutableElements<V>(scores);
    at::parallel_for(0, shape.tokens * shape.heads, 16, [&](int64_t begin, int64_t end) {
      kernels::BestSums({.n = shape.n, .listed = listed, .k = top_k, .rows = end - begin},
                        lists.values.data() + begin * 2 * listed,
                        lists.ids.data() + begin * 2 * listed,
                        {score + begin * top_k, id + begin * top_k});
    });
  };
  type == at::kDouble ? run(double{}) : run(float{});
  return {scores.to(queries.scalar_type()), ids};
}

// One of the two halves of one pick: the query's gradient has the sub-key in it and the sub-key's
// the query, each times the gradient of the score.
template <typename V>
struct HalfPicks {
  std::vector<int64_t> keys;     // rows of the sub-keys' table [heads or 1][n][2]
  std::vector<int64_t> queries;  // rows of the queries' table [tokens][heads][2]
  std::vector<V> gradients;
};

// [tokens][heads][2][top_k]: those of one query side by side.
template <typename V>
HalfPicks<V> SplitPicks(const Shape& shape, const at::Tensor& ids, const V* gradients) {
  const int64_t top_k = ids.size(2), *id = ids.const_data_ptr<int64_t>();
  HalfPicks<V> out;
  for (auto* column : {&out.keys, &out.queries}) column->resize(2 * ids.numel());
  out.gradients.resize(2 * ids.numel());
  int64_t at = 0;
  for (int64_t row = 0; row < shape.tokens * shape.heads; ++row) {
    for (int half = 0; half < 2; ++half) {
      for (int64_t i = row * top_k; i < (row + 1) * top_k; ++i, ++at) {
        const int64_t key = half == 0 ? id[i] / shape.n : id[i] % shape.n;
        out.keys[at] = shape.KeyRow(row % shape.heads, key, half);
        out.queries[at] = row * 2 + half;
        out.gradients[at] = gradients[i];
      }
    }
  }
  return out;
}

template <typename V>
void RouterBackward(const Shape& shape, const at::Tensor& ids, const at::Tensor& queries,
                    const at::Tensor& sub_keys, const V* gradients, V* grad_queries, V* grad_keys) {
  const HalfPicks<V> picks = SplitPicks(shape, ids, gradients);
  const int64_t top_k = ids.size(2);
  at::parallel_for(0, shape.tokens * shape.heads * 2, 16, [&](int64_t begin, int64_t end) {
    for (int64_t query = begin; query < end; ++query) {
      kernels::AddRows(
          {Elements<V>(sub_keys), shape.width, picks.keys.data() + query * top_k, top_k},
          picks.gradients.data() + query * top_k, grad_queries + query * shape.width);
    }
  });
  const kernels::PickRuns runs =
      kernels::SortPicks(picks.keys, sub_keys.numel() / std::max<int64_t>(shape.width, 1));
  at::parallel_for(0, runs.size(), 8, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> rows;
    std::vector<V> weights;
    for (int64_t run = begin; run < end; ++run) {
      rows.clear();
      weights.clear();
      for (const uint32_t pick : runs.picks(run)) {
        rows.push_back(picks.queries[pick]);
        weights.push_back(picks.gradients[pick]);
      }
      kernels::AddRows(
          {Elements<V>(queries), shape.width, rows.data(), static_cast<int64_t>(rows.size())},
          weights.data(), grad_keys + runs.rows[run] * shape.width);
    }
  });
}

std::tuple<at::Tensor, at::Tensor> ProductKeyTopKBackward(const at::Tensor& grad_scores,
                                                          const at::Tensor& ids,
                                                          const at::Tensor& queries,
                                                          const at::Tensor& sub_keys) {
  const Shape shape(queries, sub_keys);
  const auto type = SumType(queries.scalar_type());
  const at::Tensor scores = grad_scores.to(type).contiguous();
  const at::Tensor q = queries.to(type).contiguous(), keys = sub_keys.to(type).contiguous();
  at::Tensor grad_queries = at::zeros(q.sizes(), q.options());
  at::Tensor grad_keys = at::zeros(keys.sizes(), keys.options());
  const auto run = [&](auto value) {
    using V = decltype(value);
    RouterBackward<V>(shape, ids.contiguous(), q, keys, Elements<V>(scores),
                      MutableElements<V>(grad_queries), MutableElements<V>(grad_keys));
  };
  type == at::kDouble ? run(double{}) : run(float{});
  return {grad_queries.to(queries.scalar_type()), grad_keys.to(sub_keys.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("product_key_top_k_forward", ProductKeyTopKForward);
  m.impl("product_key_top_k_backward", ProductKeyTopKBackward);
}

}  // namespace peerage::train
