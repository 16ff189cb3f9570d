#include "model/nn/expert_table_loading.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "model/kernels/stored_block.h"

namespace peerage::nn {
namespace {

// Stored bytes of a vector that one thread reads at a time.
constexpr int64_t kPieceBytes = int64_t{1} << 20;

// A vector of some experts, by way of f32. The buffers are the thread's own.
struct Piece {
  std::vector<uint8_t> stored;
  std::vector<float> rows;

  absl::Status Load(const ExpertTableSource& source, kernels::PackExpertsArgs args,
                    uint8_t* records) {
    const TensorInfo& tensor = *source.vectors[args.vector];
    const int64_t values = args.count * args.shape.width;
    stored.resize(RowBytes(tensor.type, values));
    rows.resize(values);
    RETURN_IF_ERROR(source.checkpoint.ReadRows(tensor, args.first, absl::MakeSpan(stored)));
    kernels::DequantizeRow(tensor.type, stored.data(), values, rows.data());
    args.rows = rows.data();
    kernels::PackExperts(args, records);
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status LoadExpertTable(const ExpertTableSource& source, const kernels::ExpertTable& table,
                             kernels::ThreadPool& pool, uint8_t* records) {
  const int64_t row_bytes = RowBytes(source.vectors.front()->type, table.width);
  const int64_t experts_at_once = std::max<int64_t>(1, kPieceBytes / row_bytes);
  absl::Mutex mu;  // guards `status` and calls of `read`
  absl::Status status;
  pool.For(table.num_experts, experts_at_once, [&](int64_t begin, int64_t end, int) {
    Piece piece;
    for (int64_t first = begin; first < end; first += experts_at_once) {
      const int64_t count = std::min(experts_at_once, end - first);
      std::memset(records + first * table.RecordBytes(), 0, count * table.RecordBytes());
      for (int vector = 0; vector < table.vectors(); ++vector) {
        const absl::Status loaded = piece.Load(
            source, {.shape = table, .vector = vector, .first = first, .count = count}, records);
        absl::MutexLock lock(&mu);
        status.Update(loaded);
        if (!status.ok()) return;
        source.read(piece.stored.size());
      }
    }
  });
  return status;
}

}  // namespace peerage::nn
