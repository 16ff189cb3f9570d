#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/experts.h"
#include "model/kernels/thread_pool.h"

namespace peerage::nn {

// Reads the vectors of a table's experts [experts, width], piece by piece and in several threads,
// into its records (table.Bytes() bytes). `read` hears of every piece's stored bytes, one thread at
// a time. The first error, of whatever piece, ends it.
struct ExpertTableSource {
  const Checkpoint& checkpoint;
  absl::Span<const TensorInfo* const> vectors;  // in the order of ExpertKind
  std::function<void(uint64_t)> read;
};
absl::Status LoadExpertTable(const ExpertTableSource& source, const kernels::ExpertTable& table,
                             kernels::ThreadPool& pool, uint8_t* records);

}  // namespace peerage::nn
