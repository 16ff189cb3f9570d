#include "multiplication.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "standin.h"

namespace standin {
namespace {

void MarkColumn(const Operand& d, size_t col, bool written, const std::vector<bool>& rows) {
  if (!written) return;
  const size_t element = d.layout.element();
  const char* at = d.device + col * d.layout.ld * element;
  if (std::find(rows.begin(), rows.end(), false) == rows.end()) {
    cudaStandinMarkWritten(at, rows.size() * element);
    return;
  }
  for (size_t row = 0; row < rows.size(); ++row) {
    if (rows[row]) cudaStandinMarkWritten(at + row * element, element);
  }
}

}  // namespace

Operand::Operand(const void* pointer, const Layout& layout)
    : layout(layout), device(static_cast<const char*>(pointer)) {
  const size_t all = (layout.batch - 1) * layout.stride * layout.element() + layout.bytes();
  host = static_cast<char*>(cudaStandinBytes(pointer, all));
}

Operand Operand::Batch(int32_t index) const {
  Operand one = *this;
  one.device += index * layout.stride * static_cast<int64_t>(layout.element());
  one.host += index * layout.stride * static_cast<int64_t>(layout.element());
  return one;
}

MatrixView Operand::View(bool transposed) const {
  const bool is_bf16 = layout.type == CUDA_R_16BF;
  return transposed ? MatrixView{host, is_bf16, layout.ld, 1}
                    : MatrixView{host, is_bf16, 1, layout.ld};
}

void Operand::Store(uint64_t row, uint64_t col, float value) const {
  const uint64_t i = row + col * layout.ld;
  if (layout.type == CUDA_R_16BF) {
    reinterpret_cast<uint16_t*>(host)[i] = ToBf16(value);
  } else {
    reinterpret_cast<float*>(host)[i] = value;
  }
}

std::vector<bool> Operand::WrittenColumns() const {
  std::vector<bool> written(layout.cols);
  const size_t element = layout.element();
  for (uint64_t col = 0; col < layout.cols; ++col) {
    written[col] = cudaStandinWasWritten(device + col * layout.ld * element, layout.rows * element);
  }
  return written;
}

std::vector<bool> Operand::WrittenRows() const {
  std::vector<bool> written(layout.rows, true);
  const size_t element = layout.element();
  for (uint64_t col = 0; col < layout.cols; ++col) {
    const char* at = device + col * layout.ld * element;
    if (cudaStandinWasWritten(at, layout.rows * element)) continue;
    for (uint64_t row = 0; row < layout.rows; ++row) {
      if (!cudaStandinWasWritten(at + row * element, element)) written[row] = false;
    }
  }
  return written;
}

cudaError_t Multiplication::Run() const {
  for (const Operand* operand : {&a, &b, &c, &d}) {
    if (Operand(operand->device, operand->layout).host != nullptr) continue;
    cudaStandinReport("cublasLtMatmul of memory that was freed");
    return cudaErrorIllegalAddress;
  }
  // Whoever counts on what the workspace held sees it.
  if (workspace != nullptr) std::memset(workspace, 0xff, algorithm.workspace);
  for (int32_t i = 0; i < d.layout.batch; ++i) {
    RunOne(a.Batch(i), b.Batch(i), c.Batch(i), d.Batch(i));
  }
  return cudaSuccess;
}

void Multiplication::RunOne(const Operand& a, const Operand& b, const Operand& c,
                            const Operand& d) const {
  const size_t m = d.layout.rows, n = d.layout.cols;
  const bool transposed_a = product.a != CUBLAS_OP_N, transposed_b = product.b != CUBLAS_OP_N;
  const size_t k = transposed_a ? a.layout.rows : a.layout.cols;
  // A sum of what nobody wrote is no better.
  const std::vector<bool> rows = transposed_a ? a.WrittenColumns() : a.WrittenRows();
  const std::vector<bool> cols = transposed_b ? b.WrittenRows() : b.WrittenColumns();
  std::vector<float> sums(m * n);
  Gemm({a.View(transposed_a), b.View(transposed_b), m, n, k, algorithm.parts, sums.data()});
  const MatrixView bias_view{bias, d.layout.type == CUDA_R_16BF, 1, 0};
  for (size_t j = 0; j < n; ++j) {
    for (size_t i = 0; i < m; ++i) {
      float y = alpha * sums[j * m + i];
      if (beta != 0) y = std::fma(beta, c.View(false).At(i, j), y);
      if (bias != nullptr) y += bias_view.At(i, 0);
      d.Store(i, j, y);
    }
    MarkColumn(d, j, cols[j], rows);
  }
}

}  // namespace standin
