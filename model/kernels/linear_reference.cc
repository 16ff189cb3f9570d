#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/little_endian.h"
#include "model/kernels/float16.h"
#include "model/kernels/linear.h"
#include "model/kernels/linear_layout.h"

namespace peerage::kernels {
namespace {

// The quant of output `lane` at j of a block.
int Quant(WeightFormat format, const uint8_t* block, int lane, int j) {
  const uint8_t* v = block + VectorOffset(format) + LaneOffset(lane);
  if (format == WeightFormat::kQ8_0) return v[j / 4 * kVectorPairBytes + j % 4] - 128;
  return v[j % 16 / 4 * kVectorPairBytes + j % 4] >> (j / 16 * 4) & 15;
}

float QuantizedReference(const LinearArgs& a, int token, int output) {
  const WeightFormat format = a.weights.format;
  const Panel panel = PanelOf(token, a.tokens);
  const int t = token - panel.first;
  const int lane = output % kOutputs;
  const uint8_t* x = a.panels + panel.first * PanelTokenBytes(a.weights.depth);
  const uint8_t* w = a.weights.tiles + output / kOutputs * a.weights.TileBytes();
  float y = 0;
  for (int b = 0; b < a.weights.depth / kBlock; ++b) {
    const uint8_t* d = x + panel.tokens * kBlock;
    const uint8_t* s = d + panel.tokens * sizeof(float);
    int32_t sum = 0;
    for (int j = 0; j < kBlock; ++j) {
      sum += static_cast<int8_t>(x[t * kBlock + j]) * Quant(format, w, lane, j);
    }
    y = std::fma(static_cast<float>(sum) * LoadF16(w + 2 * lane),
                 LoadLittleEndian<float>(d + 4 * t), y);
    if (format == WeightFormat::kQ4_1) {
      y = std::fma(LoadF16(w + 64 + 2 * lane), LoadLittleEndian<float>(s + 4 * t), y);
    }
    w += TileBlockBytes(format);
    x += panel.tokens * kPanelBlockBytes;
  }
  return y;
}

float FloatReference(const LinearArgs& a, int token, int output) {
  const float* x = a.x + token * a.x_stride;
  const uint8_t* w = a.weights.tiles + output / kOutputs * a.weights.TileBytes();
  double y = 0;
  for (int k = 0; k < a.weights.depth; ++k) {
    const size_t i = FloatIndex(a.weights.format, k, output % kOutputs);
    y += double{x[k]} * (a.weights.format == WeightFormat::kF32
                             ? LoadLittleEndian<float>(w + 4 * i)
                             : F32FromBF16(LoadLittleEndian<uint16_t>(w + 2 * i)));
  }
  return static_cast<float>(y);
}

// One block of token t of a panel.
void QuantizeBlock(const float* x, int t, int panel_tokens, uint8_t* out) {
  float largest = 0;
  bool finite = true;
  for (int j = 0; j < kBlock; ++j) {
    largest = std::max(largest, std::abs(x[j]));
    finite = finite && std::isfinite(x[j]);
  }
  const float inverse = largest > kLeastScaled ? 127 / largest : 0;
  int32_t sum = 0;
  for (int j = 0; j < kBlock; ++j) {
    const int q = finite ? static_cast<int>(std::nearbyint(x[j] * inverse)) : 0;
    out[t * kBlock + j] = static_cast<uint8_t>(q);
    sum += q;
  }
  const float d = finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
  const float s = d * static_cast<float>(sum);
  const int32_t c = -128 * sum;
  out += panel_tokens * kBlock + 4 * t;
  std::memcpy(out, &d, 4);
  std::memcpy(out + 4 * panel_tokens, &s, 4);
  std::memcpy(out + 8 * panel_tokens, &c, 4);
}

}  // namespace

void QuantizeReference(const QuantizeArgs& a, int first_token, int end_token) {
  for (int token = first_token; token < end_token; ++token) {
    const Panel panel = PanelOf(token, a.tokens);
    uint8_t* out = a.panels + panel.first * PanelTokenBytes(a.depth);
    for (int k = 0; k < a.depth; k += kBlock, out += panel.tokens * kPanelBlockBytes) {
      QuantizeBlock(a.x + token * a.stride + k, token - panel.first, panel.tokens, out);
    }
  }
}

float LinearReference(const LinearArgs& args, int token, int output) {
  return (IsQuantized(args.weights.format) ? QuantizedReference : FloatReference)(args, token,
                                                                                  output);
}

}  // namespace peerage::kernels
