#include "problem.h"

namespace standin {
namespace {

// The largest vector that all rows allow, up to 16 bytes.
uint64_t Alignment(const Problem& p, const Preference& preference) {
  uint64_t all = preference.alignment_a | preference.alignment_b | preference.alignment_c |
                 preference.alignment_d | 16;
  for (const Layout* l : {&p.a, &p.b, &p.c, &p.d}) {
    all |= l->ld * l->element();
    if (l->batch > 1) all |= l->stride * l->element();
  }
  return all & (~all + 1);
}

}  // namespace

bool Problem::IsValid() const {
  for (const Layout* l : {&a, &b, &c, &d}) {
    if (l->ld < static_cast<int64_t>(l->rows) || l->batch < 1) return false;
  }
  const bool plain_a = product.a == CUBLAS_OP_N, plain_b = product.b == CUBLAS_OP_N;
  const uint64_t k = plain_a ? a.cols : a.rows;
  return (plain_a ? a.rows : a.cols) == d.rows && (plain_b ? b.cols : b.rows) == d.cols &&
         (plain_b ? b.rows : b.cols) == k && c.rows == d.rows && c.cols == d.cols;
}

bool Problem::IsSupported() const {
  const auto is_float = [](cudaDataType t) { return t == CUDA_R_16BF || t == CUDA_R_32F; };
  for (const Layout* l : {&a, &b, &c, &d}) {
    if (!is_float(l->type) || l->order != CUBLASLT_ORDER_COL || l->batch != d.batch) return false;
  }
  const bool bias = product.epilogue == CUBLASLT_EPILOGUE_BIAS;
  return product.compute == CUBLAS_COMPUTE_32F && product.scale == CUDA_R_32F &&
         product.pointer_mode == CUBLASLT_POINTER_MODE_HOST && product.a != CUBLAS_OP_C &&
         product.b != CUBLAS_OP_C && product.c == CUBLAS_OP_N && a.type == b.type &&
         c.type == d.type && (a.type == CUDA_R_16BF || d.type == CUDA_R_32F) &&
         (bias || product.epilogue == CUBLASLT_EPILOGUE_DEFAULT) &&
         (product.bias_type == -1 || product.bias_type == static_cast<int>(d.type));
}

// Few columns (rows of a batch of tokens) make few tiles: K is split to keep a device busy.
Algorithm Choose(const Problem& p, const Preference& preference) {
  uint64_t parts = p.d.cols <= 4 ? 4 : p.d.cols <= 32 ? 2 : p.d.cols <= 128 ? 3 : 1;
  uint64_t workspace = parts * p.d.rows * p.d.cols * p.d.batch * sizeof(float);
  if (parts == 1 || workspace > preference.workspace) parts = 1, workspace = 0;
  return {parts, Alignment(p, preference), workspace};
}

}  // namespace standin
