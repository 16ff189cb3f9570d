#pragma once

#include <cstdint>

#include "model/kernels/thread_pool.h"

namespace peerage::nn::cpu {

// Neighbouring rows: a thread's share of a loop.
struct RowRange {
  int first = 0;
  int end = 0;
};

// Rows that one thread takes at a time: the tokens of one panel (kernels/linear.h).
inline constexpr int kRowGrain = 8;

// Runs work(RowRange) on all threads until `rows` rows are done.
template <typename Work>
void ForRows(kernels::ThreadPool& pool, int rows, const Work& work) {
  pool.For(rows, kRowGrain, [&](int64_t first, int64_t end, int) {
    work(RowRange{static_cast<int>(first), static_cast<int>(end)});
  });
}

}  // namespace peerage::nn::cpu
