#include "server/door/own_frames.h"

#include <gtest/gtest.h>

#include "tests/unit/door/frames.h"

namespace peerage {
namespace {

TEST(OwnFramesTest, GoAwayNamesTheNewestStreamTheCodeAndTheReason) {
  EXPECT_EQ(GoAwayFrame(5, Refusal::kResets),
            FrameOf(FrameType::kGoAway, 0, 0,
                    BigEndianText(5, 4) + BigEndianText(11, 4) + "too many cancelled calls"));
}

TEST(OwnFramesTest, ResetCancelsTheStream) {
  EXPECT_EQ(ResetFrame(7), FrameOf(FrameType::kReset, 0, 7, BigEndianText(8, 4)));
}

// Byte by byte by RFC 7541: what gRPC's clients make of it is seen in the integration test.
TEST(OwnFramesTest, TurnedAwayAnswerIsWholeAndLeavesNoTraceInTables) {
  const auto field = [](const std::string& name, const std::string& value) {
    return std::string(1, '\0') + static_cast<char>(name.size()) + name +
           static_cast<char>(value.size()) + value;
  };
  const std::string headers = "\x88" + field("content-type", "application/grpc") +
                              field("grpc-status", "8") +
                              field("grpc-message", "too many calls run on this server") +
                              field("grpc-retry-pushback-ms", "1000");
  EXPECT_EQ(TurnedAwayAnswer(9), FrameOf(FrameType::kHeaders, 5, 9, headers) +
                                     FrameOf(FrameType::kReset, 0, 9, BigEndianText(0, 4)));
}

TEST(RefusalTest, EveryLabelIsItsOwn) {
  for (int i = 0; i < kRefusals; ++i) {
    EXPECT_FALSE(TextOf(static_cast<Refusal>(i)).label.empty());
    for (int j = 0; j < i; ++j) {
      EXPECT_NE(TextOf(static_cast<Refusal>(i)).label, TextOf(static_cast<Refusal>(j)).label);
    }
  }
  EXPECT_EQ(TextOf(Refusal::kCalls).label, "calls");
  EXPECT_EQ(TextOf(Refusal::kHeaderBlock).label, "header_block");
}

}  // namespace
}  // namespace peerage
