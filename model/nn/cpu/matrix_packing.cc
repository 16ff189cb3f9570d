#include "model/nn/cpu/matrix_packing.h"

#include <algorithm>
#include <vector>

#include "model/kernels/stored_block.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kRowsAtOnce = 64;  // converted and packed by one thread at a time

void ConvertRow(const PackRowsArgs& args, int64_t row, uint8_t* to) {
  for (const RowSegment& segment : args.segments) {
    kernels::ConvertRow({.from = segment.type,
                         .to = args.matrix.format,
                         .row = segment.data + row * segment.stride,
                         .n = segment.width},
                        to);
    to += kernels::StoredRowBytes(args.matrix.format, segment.width);
  }
}

}  // namespace

void PackRows(kernels::ThreadPool& pool, const PackRowsArgs& args, uint8_t* tiles) {
  const size_t row_bytes = kernels::StoredRowBytes(args.matrix.format, args.matrix.depth);
  pool.For(args.rows, kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
    std::vector<uint8_t> rows(kRowsAtOnce * row_bytes);
    for (int64_t first = begin; first < end; first += kRowsAtOnce) {
      const int count = static_cast<int>(std::min<int64_t>(kRowsAtOnce, end - first));
      for (int i = 0; i < count; ++i) ConvertRow(args, first + i, rows.data() + i * row_bytes);
      kernels::Pack({.shape = args.matrix,
                     .first_output = args.first_output + static_cast<int>(first),
                     .num_rows = count,
                     .rows = rows.data()},
                    tiles);
    }
  });
}

}  // namespace peerage::nn::cpu
