#include "train/ops/ordered_picks.h"

#include <ATen/ops/empty.h>

#include "train/ops/expert_arguments.h"

namespace peerage::train {
namespace {

// Bytes of the batch that a part reads, and as many it adds to. As measured at width 128: both no
// longer fit into half an L2 cache of 2 MiB, but then a table goes by less often.
constexpr int64_t kBatchCached = 1 << 20;
constexpr int64_t kFewestTokens = 16;  // less is not worth another thread

int64_t TokensOfAPart(int64_t tokens, int64_t width) {
  const int64_t of_a_thread = (tokens + at::get_num_threads() - 1) / at::get_num_threads();
  const int64_t cached = kBatchCached / (std::max<int64_t>(width, 1) * int64_t{sizeof(float)});
  return std::max(kFewestTokens, std::min(of_a_thread, cached));
}

}  // namespace

at::Tensor OrderOf(const char* op, const at::Tensor& ids, const at::Tensor& table) {
  const int64_t num_rows = table.size(0), tokens = ids.size(0), picks = ids.numel();
  TORCH_CHECK(num_rows <= kernels::kMaxRows && picks < kernels::kMaxPicks, op, ": there are ",
              num_rows, " experts and ", picks,
              " picks; at most 2^31 and fewer than 2^32 are possible");
  const at::Tensor all = ids.contiguous();
  CheckIds(op, all, num_rows);
  at::Tensor order = at::empty({picks}, ids.options());
  if (picks == 0) return order;
  const int64_t of_a_part = TokensOfAPart(tokens, table.size(1)) * (picks / tokens);
  const int64_t* id = all.const_data_ptr<int64_t>();
  int64_t* to = order.mutable_data_ptr<int64_t>();
  at::parallel_for(0, (picks + of_a_part - 1) / of_a_part, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * of_a_part;
      const auto count = static_cast<size_t>(std::min(of_a_part, picks - first));
      kernels::OrderPicks({id + first, count}, num_rows, first, {to + first, count});
    }
  });
  return order;
}

void CheckOrder(const char* op, const at::Tensor& order, int64_t picks, int64_t num_rows) {
  TORCH_CHECK(order.dim() == 1 && order.scalar_type() == at::kLong && order.is_contiguous() &&
                  order.numel() == picks,
              op, ": the order of picks is ", order.scalar_type(), " ", order.sizes(),
              "; it must be what forward gave, int64 [", picks, "]");
  const int64_t* pick = order.const_data_ptr<int64_t>();
  const uint64_t end = static_cast<uint64_t>(num_rows) << 32;
  int64_t wrong = 0;
  for (int64_t i = 0; i < picks; ++i) {
    wrong += static_cast<int64_t>(static_cast<uint64_t>(pick[i]) >= end) |
             static_cast<int64_t>(kernels::PickOf(pick[i]) >= picks);
  }
  TORCH_CHECK(wrong == 0, op, ": the order of picks has ", wrong, " that are no picks of ",
              num_rows, " rows");
}

OrderedPicks::OrderedPicks(const at::Tensor& order_of, int64_t tokens, const at::Tensor& table)
    : order(order_of.const_data_ptr<int64_t>(), static_cast<size_t>(order_of.numel())),
      picks_of_a_token(std::max<int64_t>(order_of.numel() / std::max<int64_t>(tokens, 1), 1)),
      tokens_of(static_cast<uint32_t>(picks_of_a_token)),
      width(table.size(1)),
      far(static_cast<int64_t>(table.nbytes()) > kTableCached) {}

}  // namespace peerage::train
