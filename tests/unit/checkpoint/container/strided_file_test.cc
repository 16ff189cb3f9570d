#include "model/checkpoint/container/strided_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "model/tensor_type.h"
#include "tests/support/memory_file.h"
#include "tests/support/pattern_bytes.h"

namespace peerage {
namespace {

constexpr uint32_t kSeed = 7;

// Element by element, from the definition.
std::string RowByRow(const std::string& stored, const StridedLayout& layout) {
  std::string result;
  const int64_t count = Elements(layout.shape);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, element = 0;
    for (size_t d = layout.shape.size(); d-- > 0;) {
      element += rest % layout.shape[d] * layout.strides[d];
      rest /= layout.shape[d];
    }
    std::string bytes =
        stored.substr(layout.offset + element * layout.element_bytes, layout.element_bytes);
    if (layout.swap_bytes) std::reverse(bytes.begin(), bytes.end());
    result += bytes;
  }
  return result;
}

std::string ReadRange(const StridedFile& file, uint64_t offset, uint64_t size) {
  std::string bytes(size, '\0');
  const absl::Status read =
      file.Read(offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
  EXPECT_TRUE(read.ok()) << read;
  return bytes;
}

const StridedLayout kLayouts[] = {
    {{}, {}, 5, 4},
    {{7}, {1}, 0, 4},
    {{7}, {3}, 2, 2},
    {{7}, {0}, 8, 8},
    {{3, 5}, {5, 1}, 0, 2, true},
    {{5, 3}, {1, 5}, 4, 4},
    {{4, 1, 3}, {6, 77, 2}, 1, 1},
    {{2, 3, 4}, {1, 2, 6}, 0, 8, true},
    {{3, 2, 5, 2}, {2, 0, 6, 1}, 3, 2},
    {{4, 4}, {1, 1}, 0, 4},  // overlapping
};

TEST(StridedFileTest, ReadsAnyRangeOfAnyLayoutRowByRow) {
  const std::string stored = PatternBytes(400);
  const MemoryFile base(stored);
  for (const StridedLayout& layout : kLayouts) {
    const std::string expected = RowByRow(stored, layout);
    const StridedFile file(base, layout);
    ASSERT_EQ(file.size(), expected.size());
    for (uint64_t begin = 0; begin <= expected.size(); ++begin) {
      for (uint64_t end = begin; end <= expected.size(); ++end) {
        ASSERT_EQ(ReadRange(file, begin, end - begin), expected.substr(begin, end - begin))
            << absl::StrJoin(layout.shape, ",") << " from " << begin << " to " << end;
      }
    }
  }
}

TEST(StridedFileTest, ReadsLargeAndSparseLayouts) {
  const std::string stored = PatternBytes(5'000'000);
  const MemoryFile base(stored);
  std::mt19937 random(kSeed);
  const StridedLayout kLarge[] = {
      {{1000, 1200}, {1, 1000}, 8, 4},           // transposed: 4.8 MB
      {{30, 20}, {40'000, 3}, 0, 4},             // rows far apart
      {{9}, {600'000}, 1, 1},                    // elements far apart
      {{3, 700'000}, {700'000, 1}, 0, 2, true},  // more than a piece in a row
      {{2, 500, 400}, {0, 400, 1}, 4, 8},
  };
  for (const StridedLayout& layout : kLarge) {
    const std::string expected = RowByRow(stored, layout);
    const StridedFile file(base, layout);
    ASSERT_EQ(ReadRange(file, 0, expected.size()), expected);
    for (int i = 0; i < 10; ++i) {
      const uint64_t begin = random() % expected.size();
      const uint64_t size = random() % (expected.size() - begin);
      ASSERT_EQ(ReadRange(file, begin, size), expected.substr(begin, size)) << begin << " " << size;
    }
  }
}

TEST(StridedFileTest, RefusesWhatLiesBeyondTheTensor) {
  const MemoryFile base(PatternBytes(64));
  const StridedFile file(base, {{2, 2}, {1, 2}, 0, 4});
  std::vector<uint8_t> bytes(8);

  EXPECT_TRUE(file.Read(8, absl::MakeSpan(bytes)).ok());
  EXPECT_TRUE(absl::IsOutOfRange(file.Read(9, absl::MakeSpan(bytes))));
  EXPECT_TRUE(absl::IsOutOfRange(file.Read(UINT64_MAX, absl::MakeSpan(bytes))));
}

}  // namespace
}  // namespace peerage
