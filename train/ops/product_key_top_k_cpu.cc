// Retrieval by product keys and its gradients. Scores of all sub-keys come from ATen's matrix
// product, one head and a few tokens at a time, so that they stay in the cache and do not depend on
// the number of threads; the best of them from a sorting network over many tokens where there are
// few of them and the CPU has wide vectors, else from the kernels that serving uses.
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
#include <type_traits>
#include <vector>

#include "train/kernels/key_gradients.h"
#include "train/kernels/pair_picks.h"
#include "train/kernels/product_key_sums.h"
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

// In a piece of work of one of torch's threads.
struct WithoutAutograd {
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
};

// How many tokens' scores of so many sub-keys are computed at once.
int64_t TokensAtOnce(int64_t sub_keys) {
  return std::clamp<int64_t>(kScoresAtOnce / sub_keys, 16, 1024);
}

template <typename V>
HalfLists<V> BestOfHalves(const at::Tensor& queries, const at::Tensor& sub_keys, int64_t listed) {
  const Shape shape(queries, sub_keys);
  HalfLists<V> out(shape, listed);
  const int64_t at_once = TokensAtOnce(shape.n);
  const int64_t chunks = (shape.tokens + at_once - 1) / at_once;
  at::parallel_for(0, chunks * shape.heads * 2, 1, [&](int64_t begin, int64_t end) {
    const WithoutAutograd guard;
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

// By kernels::PairPicks. `scores` and `ids`: [tokens][heads][top_k].
void PickPairs(const at::Tensor& queries, const at::Tensor& sub_keys, int64_t listed, int64_t top_k,
               float* scores, int64_t* ids) {
  const Shape shape(queries, sub_keys);
  const int64_t at_once = TokensAtOnce(2 * shape.n);
  const int64_t chunks = (shape.tokens + at_once - 1) / at_once;
  at::parallel_for(0, chunks * shape.heads, 1, [&](int64_t begin, int64_t end) {
    const WithoutAutograd guard;
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t head = piece % shape.heads, first = piece / shape.heads * at_once;
      const int64_t count = std::min(at_once, shape.tokens - first);
      const at::Tensor query = queries.narrow(0, first, count).select(1, head);
      const at::Tensor keys = sub_keys.select(0, shape.shared ? 0 : head);
      const at::Tensor of_first = at::mm(keys.select(1, 0), query.select(1, 0).t());
      const at::Tensor of_second = at::mm(keys.select(1, 1), query.select(1, 1).t());
      const int64_t out = (first * shape.heads + head) * top_k;
      kernels::PairPicks({.n = shape.n,
                          .listed = listed,
                          .k = top_k,
                          .queries = count,
                          .scores = {Elements<float>(of_first), Elements<float>(of_second)},
                          .sums = scores + out,
                          .ids = ids + out,
                          .stride = shape.heads * top_k});
    }
  });
}

bool CanPickPairs(const Shape& shape, int64_t top_k) {
  return top_k <= kernels::kMaxPairPicks && shape.n <= kernels::kMaxPairKeys &&
         kernels::PairPicksAreFast();
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
    if constexpr (std::is_same_v<V, float>) {
      if (CanPickPairs(shape, top_k)) {
        return PickPairs(queries.to(type), sub_keys.to(type), listed, top_k,
                         MutableElements<V>(scores), MutableElements<int64_t>(ids));
      }
    }
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

// Gradients of each head's sub-keys, added up where heads share them.
template <typename V>
at::Tensor OfAllHeads(const Shape& shape, const at::Tensor& of_heads) {
  if (!shape.shared) return of_heads;
  at::Tensor sum = of_heads.narrow(0, 0, 1).clone();
  V* total = MutableElements<V>(sum);
  for (int64_t head = 1; head < shape.heads; ++head) {
    const V* more = Elements<V>(of_heads) + head * sum.numel();
    for (int64_t i = 0; i < sum.numel(); ++i) total[i] += more[i];
  }
  return sum;
}

std::tuple<at::Tensor, at::Tensor> ProductKeyTopKBackward(const at::Tensor& grad_scores,
                                                          const at::Tensor& ids,
                                                          const at::Tensor& queries,
                                                          const at::Tensor& sub_keys) {
  const Shape shape(queries, sub_keys);
  const auto type = SumType(queries.scalar_type());
  const at::Tensor scores = grad_scores.to(type).contiguous(), picks = ids.contiguous();
  at::Tensor q = queries.to(type);
  if (q.stride(3) != 1) q = q.contiguous();
  const at::Tensor keys = sub_keys.to(type).contiguous();
  at::Tensor grad_queries = EmptyLikeQueries(queries, type);
  at::Tensor of_heads = at::zeros({shape.heads, shape.n, 2, shape.width}, q.options());
  at::Tensor grad_keys;
  const auto run = [&](auto value) {
    using V = decltype(value);
    const V *query = Elements<V>(q), *key = Elements<V>(keys);
    V *grad_query = MutableElements<V>(grad_queries), *of_head = MutableElements<V>(of_heads);
    const int64_t of_keys = 2 * shape.n * shape.width, top_k = picks.size(2);
    at::parallel_for(0, shape.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t head = begin; head < end; ++head) {
        V* to = grad_query + head * grad_queries.stride(1);
        const V* from = query + head * q.stride(1);
        kernels::KeyGradients(
            kernels::KeyGradientsArgs<V>{.tokens = shape.tokens,
                                         .top_k = top_k,
                                         .n = shape.n,
                                         .width = shape.width,
                                         .pick_stride = shape.heads * top_k,
                                         .ids = Elements<int64_t>(picks) + head * top_k,
                                         .score_gradients = Elements<V>(scores) + head * top_k,
                                         .queries = {from, from + q.stride(2)},
                                         .query_stride = q.stride(0),
                                         .sub_keys = key + (shape.shared ? 0 : head) * of_keys,
                                         .query_gradients = {to, to + grad_queries.stride(2)},
                                         .query_gradient_stride = grad_queries.stride(0),
                                         .sub_key_gradients = of_head + head * of_keys});
      }
    });
    grad_keys = OfAllHeads<V>(shape, of_heads);
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
