// Forward and backward of experts go over a batch's picks in order of the experts' rows, part by
// part: a part is some tokens, whose rows of the batch stay in a core's cache while the table goes
// by once. A token's own picks are met in order of their rows, then of their positions, whatever
// the parts are, so that sums depend neither on parts nor on threads.
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

constexpr int64_t kTableCached = 24 << 20;  // bytes of a table that caches may hold

// The order of ids [tokens, heads, top_k], rows of a table [num_rows, width]: int64 [picks], made
// in parts of whole tokens. An id that is no row is an error that names the operator.
at::Tensor OrderOf(const char* op, const at::Tensor& ids, const at::Tensor& table);

// An order that somebody gives: so many picks of rows below num_rows.
void CheckOrder(const char* op, const at::Tensor& order, int64_t picks, int64_t num_rows);

// Picks in their order, and what they are picks of.
struct OrderedPicks {
  OrderedPicks(const at::Tensor& order, int64_t tokens, const at::Tensor& table);

  std::span<const kernels::RowPick> order;
  int64_t picks_of_a_token;
  kernels::Divisor tokens_of;  // a pick divided by it is its token
  int64_t width;
  bool far;  // the table is larger than caches are
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

// A few picks, one behind the other in the order, and the addresses of their rows.
template <typename T>
class PickBlock {
 public:
  using Value = kernels::Sum<T>;
  static constexpr int64_t kMost = 128;

  // Those of the order from `first` on, before `end`; tokens are counted from `first_token`.
  PickBlock(const OrderedPicks& picks, int64_t first, int64_t end, int64_t first_token)
      : count_(std::min(kMost, end - first)),
        known_(std::min(kMost + kAhead, end - first)),
        width_(picks.width),
        far_(picks.far) {
    for (int64_t i = 0; i < known_; ++i) {
      const kernels::RowPick pick = picks.order[first + i];
      row_[i] = kernels::RowOf(pick) * width_;
      pick_[i] = kernels::PickOf(pick);
      token_[i] =
          (picks.tokens_of.Quotient(static_cast<uint32_t>(pick_[i])) - first_token) * width_;
    }
  }

  int64_t count() const { return count_; }
  int64_t pick(int64_t i) const { return pick_[i]; }

  void Dots(const T* table, const PartRows<T>& batch, Value* dots) {
    const Value* others[kMost];
    for (int64_t i = 0; i < count_; ++i) others[i] = batch.rows() + token_[i];
    kernels::RowDots(ListOf(table), others, dots);
  }
  void Add(const T* table, const Value* weights, const PartSums<T>& batch) {
    Value* sums[kMost];
    for (int64_t i = 0; i < count_; ++i) sums[i] = batch.rows() + token_[i];
    kernels::AddToRows(ListOf(table), weights, sums);
  }
  // Of two tables: first one's row, then the other's, of each pick. (One table after the other
  // would make sums depend on where blocks end.)
  void AddBoth(const T* const (&tables)[2], const Value* const (&weights)[2],
               const PartSums<T>& batch) {
    const T* rows[2 * (kMost + kAhead)];
    Value* sums[2 * kMost];
    Value all_weights[2 * kMost];
    for (int64_t i = 0; i < 2 * known_; ++i) rows[i] = tables[i % 2] + row_[i / 2];
    for (int64_t i = 0; i < 2 * count_; ++i) {
      sums[i] = batch.rows() + token_[i / 2];
      all_weights[i] = weights[i % 2][i / 2];
    }
    kernels::AddToRows({rows, 2 * count_, width_, 2 * known_, far_}, all_weights, sums);
  }

 private:
  static constexpr int64_t kAhead = 16;

  kernels::RowList<T> ListOf(const T* table) {
    for (int64_t i = 0; i < known_; ++i) list_[i] = table + row_[i];
    return {list_, count_, width_, known_, far_};
  }

  int64_t count_, known_, width_;
  bool far_;
  int64_t row_[kMost + kAhead], token_[kMost + kAhead];  // where they begin
  int64_t pick_[kMost + kAhead];
  const T* list_[kMost + kAhead];
};

// use(block, place in the order) for all picks of a part, whose first token that is.
template <typename T, typename Use>
void ForEachBlock(const OrderedPicks& picks, kernels::OrderedPart part, int64_t first_token,
                  const Use& use) {
  for (int64_t at = part.begin; at < part.end; at += PickBlock<T>::kMost) {
    PickBlock<T> block(picks, at, part.end, first_token);
    use(block, at);
  }
}

// body(part, first_token, tokens) for all parts, each by one of torch's threads.
template <typename Body>
void ForEachPart(const OrderedPicks& picks, const Body& body) {
  const std::vector<kernels::OrderedPart> parts = kernels::PartsOf(picks.order);
  at::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = parts[i].begin / picks.picks_of_a_token;
      body(parts[i], first, parts[i].end / picks.picks_of_a_token - first);
    }
  });
}

}  // namespace peerage::train
