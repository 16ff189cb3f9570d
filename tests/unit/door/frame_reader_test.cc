#include "server/door/frame_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "tests/unit/door/frames.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;

using Seen = std::tuple<uint32_t, FrameType, uint8_t, uint32_t>;

// The heads of what is read in pieces of this size.
std::vector<Seen> HeadsOf(FrameReader& reader, const std::string& bytes, size_t piece) {
  std::vector<Seen> heads;
  for (size_t i = 0; i < bytes.size(); i += piece) {
    const auto on_frame = [&](const FrameHead& head) {
      heads.emplace_back(head.length, head.type, head.flags, head.stream);
      return true;
    };
    EXPECT_TRUE(reader.Read(absl::string_view(bytes).substr(i, piece), on_frame, [](size_t) {}));
  }
  return heads;
}

TEST(FrameReaderTest, FindsTheSameFramesInPiecesOfAnySize) {
  const std::string bytes =
      kPreface + FrameOf(FrameType::kSettings, 0, 0, "123456") +
      FrameOf(FrameType::kHeaders, FrameHead::kEndHeaders, 0x7fffffff, std::string(300, 'h')) +
      FrameOf(FrameType::kData, FrameHead::kEndStream, 5) +
      FrameOf(static_cast<FrameType>(0xaa), 0xff, 7, "x");
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    FrameReader reader(FrameReader::Begin::kWithPreface);
    EXPECT_THAT(
        HeadsOf(reader, bytes, piece),
        ElementsAre(Seen{6, FrameType::kSettings, 0, 0},
                    Seen{300, FrameType::kHeaders, 4, 0x7fffffff}, Seen{0, FrameType::kData, 1, 5},
                    Seen{1, static_cast<FrameType>(0xaa), 0xff, 7}))
        << piece;
    EXPECT_TRUE(reader.between_frames()) << piece;
  }
}

TEST(FrameReaderTest, TellsOfAFrameBeforeItsPayloadComes) {
  FrameReader reader(FrameReader::Begin::kWithFrame);
  const std::string frame = FrameOf(FrameType::kData, 0, 1, std::string(100, 'd'));
  EXPECT_THAT(HeadsOf(reader, frame.substr(0, 8), 8), ElementsAre());
  EXPECT_FALSE(reader.between_frames());
  EXPECT_THAT(HeadsOf(reader, frame.substr(8, 1), 1),
              ElementsAre(Seen{100, FrameType::kData, 0, 1}));
  EXPECT_FALSE(reader.between_frames());
  EXPECT_THAT(HeadsOf(reader, frame.substr(9), 100), ElementsAre());
  EXPECT_TRUE(reader.between_frames());
}

TEST(FrameReaderTest, LeavesOutTheReservedBitOfTheStream) {
  FrameReader reader(FrameReader::Begin::kWithFrame);
  EXPECT_THAT(HeadsOf(reader, FrameOf(FrameType::kPing, 0, 0x80000003), 9),
              ElementsAre(Seen{0, FrameType::kPing, 0, 3}));
}

TEST(FrameReaderTest, RefusesWhatIsNoPreface) {
  for (size_t wrong = 0; wrong < kPreface.size(); ++wrong) {
    std::string preface = kPreface;
    preface[wrong] ^= 1;
    FrameReader reader(FrameReader::Begin::kWithPreface);
    const auto go_on = [](const FrameHead&) { return true; };
    EXPECT_TRUE(reader.Read(preface.substr(0, wrong), go_on, [](size_t) {}));
    EXPECT_FALSE(reader.Read(preface.substr(wrong), go_on, [](size_t) {}));
  }
}

TEST(FrameReaderTest, StopsWhereItIsTold) {
  FrameReader reader(FrameReader::Begin::kWithFrame);
  const std::string two = FrameOf(FrameType::kPing, 0, 0) + FrameOf(FrameType::kPing, 0, 0);
  int heads = 0;
  const auto stop = [&heads](const FrameHead&) {
    ++heads;
    return false;
  };
  EXPECT_FALSE(reader.Read(two, stop, [](size_t) {}));
  EXPECT_EQ(heads, 1);
}

TEST(FrameReaderTest, TellsWhereFramesEnd) {
  FrameReader reader(FrameReader::Begin::kWithPreface);
  std::vector<size_t> ends;
  const auto read = [&](const std::string& bytes) {
    ends.clear();
    reader.Read(
        bytes, [](const FrameHead&) { return true; }, [&](size_t end) { ends.push_back(end); });
    return ends;
  };
  const std::string data = FrameOf(FrameType::kData, 0, 1, "1234");
  EXPECT_THAT(read(kPreface + FrameOf(FrameType::kPing, 0, 0) + data + data.substr(0, 10)),
              ElementsAre(kPreface.size() + 9, kPreface.size() + 22));
  EXPECT_THAT(read(data.substr(10, 1)), ElementsAre());
  EXPECT_THAT(read(data.substr(11) + data.substr(0, 8)), ElementsAre(2));
}

}  // namespace
}  // namespace peerage
