#include "model/nn/cpu/matrix_packing.h"

#include <algorithm>

namespace peerage::nn::cpu {
namespace {

constexpr int kRowsAtOnce = 64;  // converted before they are packed

void ConvertRow(const PackRowsArgs& args, int64_t row, uint8_t* to,
                std::vector<kernels::RoundingLoss>& losses) {
  for (size_t i = 0; i < args.segments.size(); ++i) {
    const RowSegment& segment = args.segments[i];
    losses[i].Add(kernels::ConvertRow({.from = segment.type,
                                       .to = args.matrix.format,
                                       .row = segment.data + row * segment.stride,
                                       .n = segment.width},
                                      to));
    to += kernels::StoredRowBytes(args.matrix.format, segment.width);
  }
}

// Whether the rows lie in memory as they are packed from.
bool IsInFormat(const PackRowsArgs& args, size_t row_bytes) {
  const RowSegment& segment = args.segments.front();
  return args.segments.size() == 1 && segment.stride == row_bytes &&
         segment.type == kernels::StoredType(args.matrix.format);
}

}  // namespace

std::vector<kernels::RoundingLoss> PackRows(const PackRowsArgs& args, uint8_t* tiles) {
  std::vector<kernels::RoundingLoss> losses(args.segments.size());
  const size_t row_bytes = kernels::StoredRowBytes(args.matrix.format, args.matrix.depth);
  const auto pack = [&](int first, int count, const uint8_t* rows) {
    kernels::Pack({.shape = args.matrix,
                   .first_output = args.first_output + first,
                   .num_rows = count,
                   .rows = rows},
                  tiles);
  };
  if (IsInFormat(args, row_bytes)) {
    pack(0, args.rows, args.segments.front().data);
    return losses;
  }
  std::vector<uint8_t> rows(kRowsAtOnce * row_bytes);
  for (int first = 0; first < args.rows; first += kRowsAtOnce) {
    const int count = std::min(kRowsAtOnce, args.rows - first);
    for (int i = 0; i < count; ++i) {
      ConvertRow(args, first + i, rows.data() + i * row_bytes, losses);
    }
    pack(first, count, rows.data());
  }
  return losses;
}

}  // namespace peerage::nn::cpu
