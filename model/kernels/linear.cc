#include "model/kernels/linear.h"

#include <cstring>

#include "model/kernels/linear_layout.h"
#include "model/kernels/stored_block.h"

namespace peerage::kernels {
namespace {

// The quants of one block, 4 bytes at a time: `flip` turns q8_0 into value + 128 and back.
struct Quants {
  explicit Quants(WeightFormat f)
      : header(f == WeightFormat::kQ4_1 ? 4 : 2),
        vectors(f == WeightFormat::kQ4_1 ? 4 : 8),
        flip(f == WeightFormat::kQ4_1 ? 0 : 0x80808080) {}
  const int header;  // bytes of f16 d (and m) before the quants of a stored block
  const int vectors;
  const uint32_t flip;

  void Copy(const uint8_t* from, size_t from_step, uint8_t* to, size_t to_step) const {
    for (int g = 0; g < vectors; ++g) {
      uint32_t bytes;
      std::memcpy(&bytes, from + g * from_step, 4);
      bytes ^= flip;
      std::memcpy(to + g * to_step, &bytes, 4);
    }
  }
};

void PackQuantizedRow(const PackedMatrix& m, const uint8_t* row, int lane, uint8_t* tile) {
  const Quants quants(m.format);
  const size_t stored_bytes = StoredRowBytes(m.format, kBlock);
  for (int b = 0; b < m.depth / kBlock; ++b) {
    for (int i = 0; i < quants.header; i += 2) std::memcpy(tile + 32 * i + 2 * lane, row + i, 2);
    quants.Copy(row + quants.header, 4, tile + VectorOffset(m.format) + LaneOffset(lane),
                kVectorPairBytes);
    row += stored_bytes;
    tile += TileBlockBytes(m.format);
  }
}

void UnpackQuantizedRow(const PackedMatrix& m, const uint8_t* tile, int lane, float* out) {
  const Quants quants(m.format);
  uint8_t stored[34];
  for (int b = 0; b < m.depth / kBlock; ++b) {
    for (int i = 0; i < quants.header; i += 2) std::memcpy(stored + i, tile + 32 * i + 2 * lane, 2);
    quants.Copy(tile + VectorOffset(m.format) + LaneOffset(lane), kVectorPairBytes,
                stored + quants.header, 4);
    DequantizeRow(StoredType(m.format), stored, kBlock, out + b * kBlock);
    tile += TileBlockBytes(m.format);
  }
}

}  // namespace

size_t PackedMatrix::TileBytes() const {
  if (IsQuantized(format)) return TileBlockBytes(format) * (depth / kBlock);
  return kOutputs *
         StoredRowBytes(format, format == WeightFormat::kBF16 ? depth + depth % 2 : depth);
}

size_t PanelBytes(WeightFormat format, int depth, int tokens) {
  return IsQuantized(format) ? PanelTokenBytes(depth) * tokens : 0;
}

void Pack(const PackArgs& args, uint8_t* tiles) {
  const PackedMatrix& m = args.shape;
  const size_t row_bytes = StoredRowBytes(m.format, m.depth);
  const size_t element_bytes = StoredRowBytes(m.format, IsQuantized(m.format) ? 0 : 1);
  for (int i = 0; i < args.num_rows; ++i) {
    const uint8_t* row = args.rows + i * row_bytes;
    const int output = args.first_output + i;
    const int lane = output % kOutputs;
    uint8_t* tile = tiles + output / kOutputs * m.TileBytes();
    if (IsQuantized(m.format)) {
      PackQuantizedRow(m, row, lane, tile);
      continue;
    }
    for (int k = 0; k < m.depth; ++k) {
      std::memcpy(tile + FloatIndex(m.format, k, lane) * element_bytes, row + k * element_bytes,
                  element_bytes);
    }
  }
}

void UnpackRow(const PackedMatrix& m, int row, float* out) {
  const uint8_t* tile = m.tiles + row / kOutputs * m.TileBytes();
  const int lane = row % kOutputs;
  if (IsQuantized(m.format)) return UnpackQuantizedRow(m, tile, lane, out);
  const size_t element_bytes = StoredRowBytes(m.format, 1);
  for (int k = 0; k < m.depth; ++k) {
    DequantizeRow(StoredType(m.format), tile + FloatIndex(m.format, k, lane) * element_bytes, 1,
                  out + k);
  }
}

void Linear(const LinearArgs& args, int first_tile, int end_tile) {
  (IsQuantized(args.weights.format) ? LinearQuantized : LinearFloat)(args, first_tile, end_tile);
}

}  // namespace peerage::kernels
