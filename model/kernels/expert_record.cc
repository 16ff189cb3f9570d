#include "model/kernels/expert_record.h"

#include <bit>

#include "base/little_endian.h"
#include "model/kernels/float16.h"

namespace peerage::kernels {
namespace {

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

float UnpackInt4(const uint8_t* record, size_t scales, uint32_t word, int slice) {
  const int high = slice / 4;
  const auto nibble = static_cast<int32_t>(word << (28 - 8 * (slice % 4) - 4 * high)) >> 28;
  return static_cast<float>(nibble) * F32FromBF16(LoadLittleEndian<uint16_t>(record + scales));
}

}  // namespace

ExpertRecordLayout::ExpertRecordLayout(const ExpertTable& table)
    : lines(CeilDiv(table.width, ElementsPerLine(table.format))),
      segments(CeilDiv(lines, LinesPerSegment(table.format))),
      header_bytes(HasVectorScale(table.format) ? kLineBytes
                   : table.format == ExpertFormat::kInt4
                       ? CeilDiv(table.vectors() * segments, 2) * kLineBytes
                       : 0) {}

size_t ExpertTable::RecordBytes() const {
  return ExpertRecordLayout(*this).VectorOffset(vectors());
}

void UnpackExpert(const ExpertTable& table, int64_t expert, int vector, float* out) {
  const ExpertRecordLayout layout(table);
  const int line_elements = ElementsPerLine(table.format);
  const uint8_t* record = table.records + expert * table.RecordBytes();
  const uint8_t* words = record + layout.VectorOffset(vector);
  for (int i = 0; i < table.width; ++i) {
    const int line = i / line_elements, slice = i % line_elements / kWordsPerLine;
    const int lane = i % kWordsPerLine;
    const auto word = LoadLittleEndian<uint32_t>(words + line * kLineBytes + lane * 4);
    switch (table.format) {
      case ExpertFormat::kF32:
        out[i] = std::bit_cast<float>(word);
        break;
      case ExpertFormat::kBF16:
        out[i] = F32FromBF16(static_cast<uint16_t>(word >> (16 * slice)));
        break;
      case ExpertFormat::kInt8:
        out[i] = static_cast<float>(static_cast<int8_t>(word >> (8 * slice))) *
                 LoadLittleEndian<float>(record + 4 * vector);
        break;
      case ExpertFormat::kFp8:
        out[i] = F32FromE4M3(static_cast<uint8_t>(word >> (8 * slice))) *
                 LoadLittleEndian<float>(record + 4 * vector);
        break;
      case ExpertFormat::kInt4: {
        const int segment = line / LinesPerSegment(table.format);
        out[i] = UnpackInt4(record, layout.ScalesOffset(vector, segment) + lane * 4, word, slice);
        break;
      }
    }
  }
}

}  // namespace peerage::kernels
