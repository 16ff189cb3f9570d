#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "descriptors.h"
#include "gemm.h"

namespace standin {

// The matrices of a batch, or one of them: in the stand-in's memory, and where the device knows it.
struct Operand {
  Layout layout;
  const char* device = nullptr;
  char* host = nullptr;  // null: not all of it lies in an allocation

  Operand() = default;
  Operand(const void* pointer, const Layout& layout);

  Operand Batch(int32_t index) const;
  MatrixView View(bool transposed) const;
  void Store(uint64_t row, uint64_t col, float value) const;
  // Of the columns (rows) of the stored matrix: whether all of it was written.
  std::vector<bool> WrittenColumns() const;
  std::vector<bool> WrittenRows() const;
};

struct Multiplication {
  Product product;
  Operand a, b, c, d;
  float alpha = 0, beta = 0;
  Algorithm algorithm;
  const char* bias = nullptr;
  char* workspace = nullptr;

  // From within a stream: the memory may have been freed since, under a graph.
  cudaError_t Run() const;

 private:
  void RunOne(const Operand& a, const Operand& b, const Operand& c, const Operand& d) const;
};

}  // namespace standin
