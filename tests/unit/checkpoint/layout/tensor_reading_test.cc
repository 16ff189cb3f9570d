#include "model/checkpoint/layout/tensor_reading.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/memory_file.h"

namespace peerage {
namespace {

// Rows of three values of f32, somewhere in a file.
class TensorInFile {
 public:
  static constexpr int kRows = 24, kRowBytes = 12;

  explicit TensorInFile(TensorTransform transform) {
    std::string file(kOffset + kRows * kRowBytes, '\0');
    for (size_t i = 0; i < file.size(); ++i) file[i] = static_cast<char>(i % 251);
    files_.push_back(std::make_unique<MemoryFile>(std::move(file)));
    tensor_.info = {.name = "tensor",
                    .type = TensorType::kF32,
                    .shape = {kRows, kRowBytes / 4},
                    .bytes = kRows * kRowBytes};
    tensor_.transform = transform;
    tensor_.parts.push_back({.name = "stored",
                             .type = TensorType::kF32,
                             .offset = kOffset,
                             .bytes = tensor_.info.bytes});
  }

  std::vector<uint8_t> Whole() const {
    std::vector<uint8_t> bytes(tensor_.info.bytes);
    EXPECT_TRUE(ReadTensor(files_, tensor_, absl::MakeSpan(bytes)).ok());
    return bytes;
  }

  absl::StatusOr<std::vector<uint8_t>> Rows(int64_t first, int64_t count) const {
    std::vector<uint8_t> bytes(count * kRowBytes);
    const absl::Status status = ReadTensorRows(files_, tensor_, first, absl::MakeSpan(bytes));
    if (!status.ok()) return status;
    return bytes;
  }

 private:
  static constexpr int kOffset = 7;

  WeightFiles files_;
  BoundTensor tensor_;
};

void ExpectRowsOfTheWhole(const TensorInFile& stored) {
  const std::vector<uint8_t> whole = stored.Whole();
  for (int first = 0; first <= TensorInFile::kRows; ++first) {
    for (int count = 0; count <= TensorInFile::kRows - first; ++count) {
      const auto rows = stored.Rows(first, count);
      ASSERT_TRUE(rows.ok()) << rows.status();
      const auto begin = whole.begin() + first * TensorInFile::kRowBytes;
      EXPECT_EQ(*rows, std::vector<uint8_t>(begin, begin + count * TensorInFile::kRowBytes))
          << count << " rows from " << first;
    }
  }
}

TEST(TensorReadingTest, ReadsRowsInTheFilesOrder) {
  ExpectRowsOfTheWhole(TensorInFile(AsStored{}));
}

// Whatever rows are asked for, each head's are put in order by themselves.
TEST(TensorReadingTest, ReadsRowsOfSwappedHeads) {
  for (const int heads : {1, 2, 4}) {
    ExpectRowsOfTheWhole(TensorInFile(AxisSwap{
        .outer = heads, .stored_first = TensorInFile::kRows / heads / 2, .stored_second = 2}));
  }
}

// What is swapped is smaller than a row.
TEST(TensorReadingTest, ReadsRowsOfSwappedColumns) {
  ExpectRowsOfTheWhole(TensorInFile(
      AxisSwap{.outer = 2 * TensorInFile::kRows, .stored_first = 3, .stored_second = 2}));
}

TEST(TensorReadingTest, RefusesRowsBeyondTheEnd) {
  const TensorInFile stored(AsStored{});
  EXPECT_FALSE(stored.Rows(-1, 1).ok());
  EXPECT_FALSE(stored.Rows(TensorInFile::kRows, 1).ok());
  EXPECT_FALSE(stored.Rows(1, TensorInFile::kRows).ok());
}

}  // namespace
}  // namespace peerage
