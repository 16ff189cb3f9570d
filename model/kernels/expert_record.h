// How an expert's record lies in memory:
//
//   [header: scales | vector 0 | vector 1 ...]   in lines of 64 bytes
//
// A line is 16 words of 32 bits, and word l holds elements l, 16 + l, 32 + l ... of the line (1
// f32, 2 bf16, 4 int8, 4 fp8 or 8 int4), so that shifts alone bring 16 elements that lie side by
// side into 16 lanes. Element 16 s + l of an int4 line is the low nibble of byte s of word l, or
// the high nibble of byte s - 4. Elements beyond the width are zeros.
//
// int8: element = byte * scale; the header is one line with an f32 scale for each vector. fp8: as
// int8, a byte being the sign, 4 bits of exponent and 3 of mantissa; none is 0x7f or 0xff, the NaNs
// of e4m3.
// int4: element = nibble * scale; within a segment of 512 elements word l of every line shares a
// scale, that is, 32 elements that lie 16 apart: one scale a lane. The header holds 16 bf16 scales
// for each segment of each vector, two segments a line: those of segment 2 i are the low halves of
// line i's words, those of 2 i + 1 the high halves (as in a line of bf16).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "model/kernels/experts.h"
#include "model/kernels/linear.h"

namespace peerage::kernels {

inline constexpr int kWordsPerLine = 16;
inline constexpr size_t kLineBytes = 64;

constexpr int ElementsPerLine(ExpertFormat format) {
  switch (format) {
    case ExpertFormat::kF32:
      return kWordsPerLine;
    case ExpertFormat::kBF16:
      return 2 * kWordsPerLine;
    case ExpertFormat::kInt8:
    case ExpertFormat::kFp8:
      return 4 * kWordsPerLine;
    case ExpertFormat::kInt4:
      return 8 * kWordsPerLine;
  }
  return kWordsPerLine;
}

constexpr bool IsInteger(ExpertFormat format) {
  return format == ExpertFormat::kInt8 || format == ExpertFormat::kInt4;
}

// Exact, but for the two NaNs of the format, which come out as 480. Multiplying by 2^120 moves the
// exponent from e4m3's bias (7) to f32's (127), and makes subnormals normal.
constexpr float F32FromE4M3(uint8_t bits) {
  const uint32_t sign = (bits & 0x80u) << 24;
  const uint32_t magnitude = (bits & 0x7fu) << 20;
  return std::bit_cast<float>(sign |
                              std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p120f));
}

// One f32 in the record's header for each vector.
constexpr bool HasVectorScale(ExpertFormat format) {
  return format == ExpertFormat::kInt8 || format == ExpertFormat::kFp8;
}

// Lines whose integer products are summed exactly before they meet a scale: a segment of int4; as
// many as 32 bits hold of int8 (16 bits times 8, 4 to a word: 2^31 is reached after 128).
constexpr int LinesPerSegment(ExpertFormat format) {
  return format == ExpertFormat::kInt4 ? 4 : 64;
}

struct ExpertRecordLayout {
  explicit ExpertRecordLayout(const ExpertTable& table);

  size_t VectorOffset(int vector) const { return header_bytes + vector * lines * kLineBytes; }
  // Of the 16-bit scales of a segment of int4: one in each word from here on.
  size_t ScalesOffset(int vector, int segment) const {
    const size_t index = static_cast<size_t>(vector) * segments + segment;
    return index / 2 * kLineBytes + index % 2 * 2;
  }

  int lines;     // of a vector
  int segments;  // of a vector
  size_t header_bytes;
};

}  // namespace peerage::kernels
