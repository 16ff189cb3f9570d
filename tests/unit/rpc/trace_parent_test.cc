#include "server/rpc/request/trace_parent.h"

#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kSpan = "00f067aa0ba902b7";

TEST(TraceParentTest, NamesATraceAndASpan) {
  for (const std::string& header : {
           "00-" + kTrace + "-" + kSpan + "-01",
           "00-" + kTrace + "-" + kSpan + "-00",
           "00-" + kTrace + "-" + kSpan + "-ff",
           // Versions to come.
           "cc-" + kTrace + "-" + kSpan + "-01",
           "01-" + kTrace + "-" + kSpan + "-01-what the future brings",
       }) {
    const auto parent = ParseTraceParent(header);
    ASSERT_TRUE(parent.has_value()) << header;
    EXPECT_EQ(parent->trace_id, kTrace);
    EXPECT_EQ(parent->span_id, kSpan);
  }
}

TEST(TraceParentTest, IsNothingByAnyOtherGrammar) {
  for (const std::string& header : {
           std::string(),
           std::string("00"),
           "00-" + kTrace + "-" + kSpan,
           "00-" + kTrace + "-" + kSpan + "-1",
           "00-" + kTrace + "-" + kSpan + "-01-more",
           "00-" + kTrace + "-" + kSpan + "-01 ",
           " 00-" + kTrace + "-" + kSpan + "-01",
           "01-" + kTrace + "-" + kSpan + "-01more",
           "ff-" + kTrace + "-" + kSpan + "-01",
           "0G-" + kTrace + "-" + kSpan + "-01",
           "00_" + kTrace + "-" + kSpan + "-01",
           "00-" + kTrace + "_" + kSpan + "-01",
           "00-" + kTrace + "-" + kSpan + "_01",
           "00-" + kTrace + "-" + kSpan + "-0x",
           "00-4BF92F3577B34DA6A3CE929D0E0E4736-" + kSpan + "-01",
           "00-" + std::string(32, '0') + "-" + kSpan + "-01",
           "00-" + kTrace + "-" + std::string(16, '0') + "-01",
           "00-" + kTrace + "-00f067aa0ba902b\n-01",
           "00-" + kTrace.substr(1) + "g-" + kSpan + "-01",
       }) {
    EXPECT_FALSE(ParseTraceParent(header).has_value()) << header;
  }
}

}  // namespace
}  // namespace peerage
