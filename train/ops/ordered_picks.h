// Forward and backward of experts go over a batch's picks block by block of the table, token by
// token in a block: the block stays in a core's cache, and a token's sum in registers. A token's
// own picks are met in order of their blocks, then of their positions, so that sums do not depend
// on the parts of the batch that threads deal with.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "train/kernels/divisor.h"
#include "train/kernels/pick_order.h"
#include "train/kernels/table_rows.h"

namespace peerage::train {

// Of a table of num_rows rows like those of `rows` [any, width].
kernels::RowBlocks BlocksOf(int64_t num_rows, const at::Tensor& rows);

// The order by block of ids [tokens, heads, top_k], rows of a table [num_rows, width]: int64
// [picks], made in parts of whole tokens. An id that is no row is an error that names the operator.
at::Tensor OrderOf(const char* op, const at::Tensor& ids, const at::Tensor& table);

// An order that somebody gives: so many picks of rows below num_rows.
void CheckOrder(const char* op, const at::Tensor& order, int64_t picks, int64_t num_rows);

// Such an order by block, whose parts are ordered by row instead.
at::Tensor OrderedByRow(const at::Tensor& order, const kernels::RowBlocks& blocks);

// Picks in their order by block, and what they are picks of. An order whose parts are not whole
// tokens is an error that names the operator.
struct OrderedPicks {
  OrderedPicks(const char* op, const at::Tensor& order, int64_t tokens, const at::Tensor& table);

  // Those of a part, of a table like the one above.
  template <typename T>
  kernels::PickedTable<T> Of(kernels::OrderedPart part, const T* table) const {
    return {.table = table,
            .batch = {.picks = order.subspan(part.begin, part.end - part.begin),
                      .picks_of_a_token = kernels::Divisor(static_cast<uint32_t>(picks_of_a_token)),
                      .width = width},
            .first_token = part.begin / picks_of_a_token,
            .far = far};
  }

  std::span<const kernels::RowPick> order;
  int64_t picks_of_a_token;
  int64_t width;
  bool far;  // the table is larger than a core's cache
  std::vector<kernels::OrderedPart> parts;
};

// Rows of a batch [tokens, width] from `first` on, in the type of sums.
template <typename T>
class PartRows {
 public:
  using Value = kernels::Sum<T>;

  PartRows(const T* batch, int64_t first, int64_t tokens, int64_t width) {
    if constexpr (std::is_same_v<T, Value>) {
      rows_ = batch + first * width;
    } else {
      copy_.resize(tokens * width);
      kernels::LoadRow(batch + first * width, tokens * width, copy_.data());
      rows_ = copy_.data();
    }
  }
  const Value* rows() const { return rows_; }

 private:
  std::vector<Value> copy_;
  const Value* rows_;
};

// Sums for rows of a batch [tokens, width] from `first` on, which begin as zeros and end up there.
template <typename T>
class PartSums {
 public:
  using Value = kernels::Sum<T>;

  PartSums(T* batch, int64_t first, int64_t tokens, int64_t width)
      : batch_(batch + first * width), size_(tokens * width) {
    if constexpr (std::is_same_v<T, Value>) {
      rows_ = batch_;
      std::fill_n(rows_, size_, Value{0});
    } else {
      sums_.resize(size_);
      rows_ = sums_.data();
    }
  }
  Value* rows() const { return rows_; }
  void Store() const {
    if constexpr (!std::is_same_v<T, Value>) kernels::StoreRow(rows_, size_, batch_);
  }

 private:
  T* batch_;
  int64_t size_;
  std::vector<Value> sums_;
  Value* rows_;
};

// body(part, first_token, tokens) for all parts, each by one of torch's threads.
template <typename Body>
void ForEachPart(const OrderedPicks& picks, const Body& body) {
  const auto count = static_cast<int64_t>(picks.parts.size());
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const kernels::OrderedPart part = picks.parts[i];
      const int64_t first = part.begin / picks.picks_of_a_token;
      body(part, first, part.end / picks.picks_of_a_token - first);
    }
  });
}

}  // namespace peerage::train
