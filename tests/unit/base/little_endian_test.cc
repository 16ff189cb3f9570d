#include "base/little_endian.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace peerage {
namespace {

TEST(LittleEndianTest, PutsTheLowestByteFirst) {
  uint8_t bytes[5] = {9, 9, 9, 9, 9};
  StoreLittleEndian(uint32_t{0x04030201}, bytes + 1);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(bytes[i], i == 0 ? 9 : i);
  EXPECT_EQ(LoadLittleEndian<uint32_t>(bytes + 1), 0x04030201u);
  EXPECT_EQ(LoadLittleEndian<uint16_t>(bytes + 3), 0x0403u);
  EXPECT_EQ(LittleEndianBytes(uint16_t{0x4142}), "BA");
}

TEST(LittleEndianTest, HoldsFloatsAtAnyAlignment) {
  uint8_t bytes[9];
  StoreLittleEndian(-0.1, bytes + 1);
  EXPECT_EQ(LoadLittleEndian<double>(bytes + 1), -0.1);
  EXPECT_EQ(LittleEndianBytes(1.0f), std::string("\0\0\x80\x3f", 4));
}

TEST(LittleEndianTest, AppendsArrays) {
  std::string bytes = "x";
  AppendLittleEndian(std::vector<uint16_t>{0x4142, 0x4344}, bytes);
  AppendLittleEndian(std::vector<float>(), bytes);
  EXPECT_EQ(bytes, "xBADC");
}

}  // namespace
}  // namespace peerage
