#include "train/ops/router_arguments.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>

namespace peerage::train {

void CheckRouter(const at::Tensor& queries, const at::Tensor& sub_keys, int64_t top_k,
                 std::optional<int64_t> sub_top_k) {
  constexpr const char* op = "product_key_top_k";
  TORCH_CHECK(queries.dim() == 4 && queries.sym_size(2) == 2, op, ": queries are ",
              queries.sym_sizes(), "; they must be [tokens, heads, 2, width]");
  TORCH_CHECK(sub_keys.dim() == 4 && sub_keys.sym_size(2) == 2 &&
                  (sub_keys.sym_size(0) == 1 || sub_keys.sym_size(0) == queries.sym_size(1)) &&
                  sub_keys.sym_size(3) == queries.sym_size(3),
              op, ": sub_keys are ", sub_keys.sym_sizes(), ", but queries are ",
              queries.sym_sizes(), "; sub_keys must be [heads or 1, n, 2, width]");
  TORCH_CHECK(queries.scalar_type() == sub_keys.scalar_type(), op, ": queries are of ",
              queries.scalar_type(), ", but sub_keys of ", sub_keys.scalar_type(),
              "; both must be of the same type");
  TORCH_CHECK(top_k >= 1, op, ": top_k is ", top_k, "; it must be at least 1");
  TORCH_CHECK(!sub_top_k || *sub_top_k >= 1, op, ": sub_top_k is ", sub_top_k.value_or(0),
              "; it must be at least 1");
  TORCH_CHECK(sub_keys.sym_size(1) >= 1 && sub_keys.sym_size(1) <= int64_t{1} << 31, op,
              ": there are ", sub_keys.sym_size(1), " sub-keys; 1 to 2^31 are possible");
  const c10::SymInt listed = sub_keys.sym_size(1).min(sub_top_k.value_or(top_k));
  TORCH_CHECK(listed * listed >= top_k, op, ": top_k is ", top_k, ", but the ", listed,
              " best of each half make only ", listed * listed, " sums");
}

at::Tensor EmptyLikeQueries(const at::Tensor& queries, at::ScalarType type) {
  const auto options = queries.options().dtype(type);
  if (queries.sym_stride(3) == 1) return at::empty_like(queries, options);
  return at::empty_symint(queries.sym_sizes(), options);
}

}  // namespace peerage::train
