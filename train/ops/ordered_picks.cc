#include "train/ops/ordered_picks.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "train/ops/expert_arguments.h"

namespace peerage::train {
namespace {

// Bytes of a block of a table: half an L2 cache of 2 MiB, the rest of which the batch goes through.
constexpr int64_t kBlockCached = 1 << 20;
// Bytes of the batch that a part reads, and as many it adds to. They are met in order in blocks of
// many picks, and in any order in those of few: then they are what stays in the cache.
constexpr int64_t kBatchCached = 1 << 20;
constexpr int64_t kFewestTokens = 16;  // less is not worth another thread

int64_t TokensOfAPart(int64_t tokens, int64_t width) {
  const int64_t of_a_thread = (tokens + at::get_num_threads() - 1) / at::get_num_threads();
  const int64_t cached = kBatchCached / (std::max<int64_t>(width, 1) * int64_t{sizeof(float)});
  return std::max(kFewestTokens, std::min(of_a_thread, cached));
}

}  // namespace

kernels::RowBlocks BlocksOf(int64_t num_rows, const at::Tensor& rows) {
  const int64_t row = std::max<int64_t>(rows.size(1) * rows.element_size(), 1);
  int bits = 0;
  while (bits < kernels::kMaxBlockBits && row << (bits + 1) <= kBlockCached) ++bits;
  return {.num_rows = num_rows, .block_bits = bits};
}

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
  const kernels::RowBlocks blocks = BlocksOf(num_rows, table);
  const int64_t* id = all.const_data_ptr<int64_t>();
  int64_t* to = order.mutable_data_ptr<int64_t>();
  at::parallel_for(0, (picks + of_a_part - 1) / of_a_part, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * of_a_part;
      const auto count = static_cast<size_t>(std::min(of_a_part, picks - first));
      kernels::OrderByBlock({id + first, count}, blocks, first, {to + first, count});
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

at::Tensor OrderedByRow(const at::Tensor& order, const kernels::RowBlocks& blocks) {
  at::Tensor by_row = order.clone();
  const std::span all(by_row.mutable_data_ptr<int64_t>(), static_cast<size_t>(by_row.numel()));
  const std::vector<kernels::OrderedPart> parts = kernels::PartsOf(blocks, all);
  at::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels::OrderByRow(blocks, all.subspan(parts[i].begin, parts[i].end - parts[i].begin));
    }
  });
  return by_row;
}

OrderedPicks::OrderedPicks(const char* op, const at::Tensor& order_of, int64_t tokens,
                           const at::Tensor& table)
    : order(order_of.const_data_ptr<int64_t>(), static_cast<size_t>(order_of.numel())),
      picks_of_a_token(std::max<int64_t>(order_of.numel() / std::max<int64_t>(tokens, 1), 1)),
      width(table.size(1)),
      far(static_cast<int64_t>(table.nbytes()) > kBlockCached),
      parts(kernels::PartsOf(BlocksOf(table.size(0), table), order)) {
  int64_t wrong = 0;
  for (const auto& [begin, end] : parts) {
    wrong += static_cast<int64_t>(begin % picks_of_a_token != 0);
    for (const kernels::RowPick pick : order.subspan(begin, end - begin)) {
      wrong += static_cast<int64_t>(kernels::PickOf(pick) < begin) |
               static_cast<int64_t>(kernels::PickOf(pick) >= end);
    }
  }
  TORCH_CHECK(wrong == 0, op, ": the order of picks has ", wrong,
              " that are not where forward put them");
}

}  // namespace peerage::train
