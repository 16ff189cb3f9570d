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

// A type of other programs that no kernel here reads. Its size is known all the same, so that a
// file can be listed and refused by the name of the type.
struct GgufForeignDtype {
  uint32_t id;
  absl::string_view name;
  int block_elements;
  int block_bytes;
};

inline constexpr std::array<GgufForeignDtype, 25> kGgufForeignDtypes = {{
    {9, "Q8_1", 32, 40},      {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},   {15, "Q8_K", 256, 292},
    {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98},
    {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},
    {25, "I16", 1, 2},        {26, "I32", 1, 4},        {27, "I64", 1, 8},
    {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},   {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},
}};

}  // namespace peerage
