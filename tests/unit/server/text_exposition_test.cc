#include "server/metrics/text_exposition.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

TEST(YoungTextTest, IsWrittenAnewWhenItIsOld) {
  FakeClock clock;
  YoungText text(&clock);
  int written = 0;
  const auto get = [&] { return text.Get([&] { return std::to_string(++written); }); };
  EXPECT_EQ(get(), "1");
  EXPECT_EQ(get(), "1");
  clock.Advance(YoungText::kMaxAge - absl::Nanoseconds(1));
  EXPECT_EQ(get(), "1");
  clock.Advance(absl::Nanoseconds(1));
  EXPECT_EQ(get(), "2");
}

}  // namespace
}  // namespace peerage
