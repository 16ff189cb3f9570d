#pragma once

#include <cstddef>
#include <cstdint>

namespace standin {

// A matrix of bf16 or f32 whose element (row, col) lies at row * row_stride + col * col_stride.
struct MatrixView {
  const void* data = nullptr;
  bool is_bf16 = false;
  int64_t row_stride = 0, col_stride = 0;

  float At(int64_t row, int64_t col) const;
};

// sums [n][m] = a [m, k] * b [k, n] in f32, each sum in `parts` equal parts of k that are added at
// the end: how a sum rounds depends on the number of parts, as in cuBLAS.
struct GemmArguments {
  MatrixView a, b;
  size_t m = 0, n = 0, k = 0, parts = 1;
  float* sums = nullptr;
};
void Gemm(const GemmArguments& arguments);

float FromBf16(uint16_t bits);
uint16_t ToBf16(float value);  // to nearest even

}  // namespace standin
