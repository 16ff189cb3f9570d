#include "gemm.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace standin {
namespace {

// A tile of sums stays in 12 of the 16 vector registers.
constexpr size_t kTileM = 16, kTileN = 6;
constexpr size_t kBlockK = 256;  // summed in registers, then added to the part's sums

// panel [k][width]: rows of a (or columns of b) from `first`, zeros beyond `count`.
template <typename At>
void Pack(size_t width, size_t first, size_t count, size_t k, float* panel, At&& at) {
  const size_t filled = std::min(width, count - first);
  if (filled < width) std::fill_n(panel, k * width, 0.0f);
  for (size_t i = 0; i < filled; ++i) {
    for (size_t p = 0; p < k; ++p) panel[p * width + i] = at(first + i, p);
  }
}

// The same for a whole matrix of panels, by element type so that the loops are tight.
template <typename T>
void PackTyped(const T* data, int64_t across, int64_t along, size_t width, size_t first,
               size_t count, size_t k, float* panel) {
  Pack(width, first, count, k, panel, [&](size_t i, size_t p) {
    const T x = data[static_cast<int64_t>(i) * across + static_cast<int64_t>(p) * along];
    if constexpr (sizeof(T) == 2) {
      return FromBf16(x);
    } else {
      return x;
    }
  });
}

struct PanelOf {
  const MatrixView& matrix;
  int64_t across, along;  // strides: between the panel's lanes, along k
  size_t count;           // lanes that the matrix has

  void Read(size_t width, size_t first, size_t k_begin, size_t k, float* panel) const {
    const int64_t offset = static_cast<int64_t>(k_begin) * along;
    if (matrix.is_bf16) {
      PackTyped(static_cast<const uint16_t*>(matrix.data) + offset, across, along, width, first,
                count, k, panel);
    } else {
      PackTyped(static_cast<const float*>(matrix.data) + offset, across, along, width, first, count,
                k, panel);
    }
  }
};

// tile [kTileN][kTileM] = a panel [k][kTileM] * b panel [k][kTileN].
void MultiplyTile(const float* a, const float* b, size_t k, float* tile) {
  __m256 sums[kTileN][2];
  for (auto& column : sums) column[0] = column[1] = _mm256_setzero_ps();
  for (size_t p = 0; p < k; ++p) {
    const __m256 low = _mm256_loadu_ps(a + p * kTileM), high = _mm256_loadu_ps(a + p * kTileM + 8);
#pragma GCC unroll 6
    for (size_t j = 0; j < kTileN; ++j) {
      const __m256 x = _mm256_broadcast_ss(b + p * kTileN + j);
      sums[j][0] = _mm256_fmadd_ps(low, x, sums[j][0]);
      sums[j][1] = _mm256_fmadd_ps(high, x, sums[j][1]);
    }
  }
  for (size_t j = 0; j < kTileN; ++j) {
    _mm256_storeu_ps(tile + j * kTileM, sums[j][0]);
    _mm256_storeu_ps(tile + j * kTileM + 8, sums[j][1]);
  }
}

// Adds the products of k_begin to k_begin + k to sums [n][m].
void AddBlock(const GemmArguments& g, size_t k_begin, size_t k, float* sums) {
  const PanelOf a{g.a, g.a.row_stride, g.a.col_stride, g.m};
  const PanelOf b{g.b, g.b.col_stride, g.b.row_stride, g.n};
  const size_t panels = (g.n + kTileN - 1) / kTileN;
  std::vector<float> b_panels(panels * k * kTileN), a_panel(k * kTileM);
  for (size_t j = 0; j < panels; ++j) {
    b.Read(kTileN, j * kTileN, k_begin, k, &b_panels[j * k * kTileN]);
  }
  float tile[kTileN * kTileM];
  for (size_t i = 0; i < g.m; i += kTileM) {
    a.Read(kTileM, i, k_begin, k, a_panel.data());
    for (size_t j = 0; j < g.n; j += kTileN) {
      MultiplyTile(a_panel.data(), &b_panels[j * k], k, tile);
      for (size_t y = j; y < std::min(j + kTileN, g.n); ++y) {
        for (size_t x = i; x < std::min(i + kTileM, g.m); ++x) {
          sums[y * g.m + x] += tile[(y - j) * kTileM + x - i];
        }
      }
    }
  }
}

}  // namespace

float FromBf16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float MatrixView::At(int64_t row, int64_t col) const {
  const int64_t i = row * row_stride + col * col_stride;
  return is_bf16 ? FromBf16(static_cast<const uint16_t*>(data)[i])
                 : static_cast<const float*>(data)[i];
}

void Gemm(const GemmArguments& g) {
  std::fill_n(g.sums, g.m * g.n, 0.0f);
  std::vector<float> part(g.m * g.n);
  const size_t step = (g.k + g.parts - 1) / g.parts;
  for (size_t begin = 0; begin < g.k; begin += step) {
    const size_t end = std::min(begin + step, g.k);
    std::fill(part.begin(), part.end(), 0.0f);
    for (size_t k = begin; k < end; k += kBlockK) {
      AddBlock(g, k, std::min(kBlockK, end - k), part.data());
    }
    for (size_t i = 0; i < part.size(); ++i) g.sums[i] += part[i];
  }
}

}  // namespace standin
