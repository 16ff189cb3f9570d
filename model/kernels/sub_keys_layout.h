// How a set of sub-keys lies in memory, each part at a multiple of 64 bytes:
//   tiles   all keys as linear.h packs them: exact fp32 scores
// and for sets that bf16 arithmetic pays for (HasBF16Panels):
//   norm    f32: no key's norm is above it
//   panels  bf16 [n / 64][width / 2][64 keys][2]: approximate scores of all keys, two k at a time
//   rows    [n][width] of the stored type, each row at a multiple of 64 bytes: exact scores of few
// The last panel is padded with zeros, as is an odd width.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/product_keys.h"

namespace peerage::kernels {

inline constexpr int kPanelKeys = 64;
// Below, scores are cheap and the second look at the candidates is not.
inline constexpr int kLeastBF16Keys = 256;

constexpr size_t RoundUp64(size_t bytes) { return (bytes + 63) / 64 * 64; }

constexpr bool HasBF16Panels(const SubKeys& keys) { return keys.n >= kLeastBF16Keys; }

constexpr int PanelPairs(const SubKeys& keys) { return (keys.width + 1) / 2; }
constexpr size_t PanelBytes(const SubKeys& keys) {
  return size_t{4} * kPanelKeys * PanelPairs(keys);
}
constexpr int NumPanels(const SubKeys& keys) { return (keys.n + kPanelKeys - 1) / kPanelKeys; }
constexpr size_t KeyBytes(const SubKeys& keys) {
  return size_t{keys.format == WeightFormat::kF32 ? 4u : 2u} * keys.width;
}

inline PackedMatrix SubKeyTiles(const SubKeys& keys) {
  return {keys.format, keys.n, keys.width, keys.data};
}

struct SubKeyLayout {
  explicit SubKeyLayout(const SubKeys& keys)
      : norm(RoundUp64(SubKeyTiles(keys).Bytes())),
        panels(norm + 64),
        rows(panels + PanelBytes(keys) * NumPanels(keys)),
        row_bytes(RoundUp64(KeyBytes(keys))),
        bytes(HasBF16Panels(keys) ? rows + row_bytes * keys.n : norm) {}

  size_t norm, panels, rows;  // offsets
  size_t row_bytes;
  size_t bytes;  // of everything
};

}  // namespace peerage::kernels
