#include "client/hidden_states.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "base/little_endian.h"

namespace peerage::client {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using States = google::protobuf::RepeatedPtrField<v1::HiddenStates>;

// Rows of two values.
void Add(States& states, std::optional<uint32_t> index, uint32_t layer,
         const std::vector<uint32_t>& positions, const std::vector<float>& values) {
  v1::HiddenStates& added = *states.Add();
  if (index) added.set_index(*index);
  added.set_layer(layer);
  added.mutable_positions()->Add(positions.begin(), positions.end());
  added.set_hidden_size(2);
  AppendLittleEndian(values, *added.mutable_values());
}

std::string Entry(int32_t part, uint32_t layer, uint32_t position, std::vector<float> values) {
  std::string bytes =
      LittleEndianBytes(part) + LittleEndianBytes(layer) + LittleEndianBytes(position);
  AppendLittleEndian(values, bytes);
  return bytes;
}

// As a stream brings them: the prompt comes with whichever candidate ends first.
TEST(HiddenStatesNpyTest, IsAnArrayOfRowsWithThePromptsFirst) {
  States states;
  Add(states, 0, 3, {2}, {1, 2});
  Add(states, std::nullopt, 1, {0, 1}, {3, 4, 5, 6});
  Add(states, std::nullopt, 3, {1}, {7, 8});
  Add(states, 1, 3, {2}, {9, 10});
  const auto npy = HiddenStatesNpy(states);
  ASSERT_TRUE(npy.ok()) << npy.status();
  EXPECT_THAT(*npy, StartsWith(std::string("\x93NUMPY\x01\x00", 8)));
  EXPECT_THAT(*npy,
              HasSubstr("{'descr': [('part', '<i4'), ('layer', '<u4'), ('position', '<u4'), "
                        "('values', '<f4', (2,))], 'fortran_order': False, 'shape': (5,), }"));
  const std::string entries = Entry(-1, 1, 0, {3, 4}) + Entry(-1, 1, 1, {5, 6}) +
                              Entry(-1, 3, 1, {7, 8}) + Entry(0, 3, 2, {1, 2}) +
                              Entry(1, 3, 2, {9, 10});
  EXPECT_THAT(*npy, EndsWith("\n" + entries));
  const size_t header = LoadLittleEndian<uint16_t>(reinterpret_cast<const uint8_t*>(&(*npy)[8]));
  EXPECT_EQ((10 + header) % 64, 0u);
  EXPECT_EQ(npy->size(), 10 + header + entries.size());
}

TEST(HiddenStatesNpyTest, MayHaveNoRows) {
  const auto npy = HiddenStatesNpy({});
  ASSERT_TRUE(npy.ok());
  EXPECT_THAT(*npy, HasSubstr("'shape': (0,)"));
}

TEST(HiddenStatesNpyTest, RefusesValuesOfAnotherSize) {
  States states;
  Add(states, 0, 3, {2, 3}, {1, 2, 3});
  EXPECT_EQ(HiddenStatesNpy(states).status(),
            absl::DataLossError("hidden states of layer 3 are 12 bytes, not 2 rows of 2 values"));
}

}  // namespace
}  // namespace peerage::client
