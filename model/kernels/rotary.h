// Rotary position embedding (Su et al. 2021, eq. 34): pair i of a head is turned by the angle
// position * theta^(-2i / head_dim). Frequencies and angles are f32 products, as in Hugging Face
// transformers, whose models were trained with that rounding.
#pragma once

#include <cstddef>

namespace peerage::kernels {

// cos and sin [head_dim / 2] of one position.
void RotaryAngles(int position, float theta, int head_dim, float* cos, float* sin);

struct RotaryArgs {
  float* x = nullptr;  // [heads][head_dim] of one token, in place
  int heads = 0;
  int head_dim = 0;          // even
  bool interleaved = false;  // pairs (2i, 2i + 1), else (i, i + head_dim / 2)
  const float* cos = nullptr;
  const float* sin = nullptr;
};
void Rotate(const RotaryArgs& args);
void RotateReference(const RotaryArgs& args);

}  // namespace peerage::kernels
