#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace peerage {

// How the elements of a stored tensor are encoded. Quantised types hold blocks along the last
// (input) dimension; the byte layouts are those of GGUF, little endian.
enum class TensorType : uint8_t { kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ6_K };

struct TensorTypeTraits {
  const char* name;    // "f32", "q4_1", ...
  int block_elements;  // elements that share one block; 1 for plain types
  int block_bytes;
};

constexpr TensorTypeTraits Traits(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return {"f32", 1, 4};
    case TensorType::kF16:
      return {"f16", 1, 2};
    case TensorType::kBF16:
      return {"bf16", 1, 2};
    case TensorType::kQ4_0:
      return {"q4_0", 32, 18};
    case TensorType::kQ4_1:
      return {"q4_1", 32, 20};
    case TensorType::kQ5_0:
      return {"q5_0", 32, 22};
    case TensorType::kQ5_1:
      return {"q5_1", 32, 24};
    case TensorType::kQ8_0:
      return {"q8_0", 32, 34};
    case TensorType::kQ6_K:
      return {"q6_k", 256, 210};
  }
  return {"unknown", 1, 0};
}

// Elements of a tensor of this shape; of no dimensions: one.
constexpr int64_t Elements(std::span<const int64_t> shape) {
  int64_t elements = 1;
  for (const int64_t dimension : shape) elements *= dimension;
  return elements;
}

// Bytes of a row of `elements` values. Precondition: elements % block_elements == 0.
constexpr size_t RowBytes(TensorType type, int64_t elements) {
  const TensorTypeTraits traits = Traits(type);
  return static_cast<size_t>(elements / traits.block_elements) * traits.block_bytes;
}

}  // namespace peerage
