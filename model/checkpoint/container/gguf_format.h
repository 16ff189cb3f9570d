#pragma once

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "model/tensor_type.h"

namespace peerage {

inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr uint32_t kGgufDefaultAlignment = 32;

// A tensor type under the format's number and name.
struct GgufDtype {
  uint32_t id;
  absl::string_view name;
  TensorType type;
};

inline constexpr std::array<GgufDtype, 9> kGgufDtypes = {{
    {0, "F32", TensorType::kF32},
    {1, "F16", TensorType::kF16},
    {2, "Q4_0", TensorType::kQ4_0},
    {3, "Q4_1", TensorType::kQ4_1},
    {6, "Q5_0", TensorType::kQ5_0},
    {7, "Q5_1", TensorType::kQ5_1},
    {8, "Q8_0", TensorType::kQ8_0},
    {14, "Q6_K", TensorType::kQ6_K},
    {30, "BF16", TensorType::kBF16},
}};

}  // namespace peerage
