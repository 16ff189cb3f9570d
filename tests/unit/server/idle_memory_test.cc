#include "server/idle_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;

constexpr size_t kMib = 1 << 20;

// A process whose memory is a number. Giving back leaves 110 MiB.
class IdleMemoryTest : public ::testing::Test {
 protected:
  IdleMemoryTest() { memory_.Start(); }
  ~IdleMemoryTest() override { lane_.reset(); }

  // The look that is due after the interval, with so much in memory; whether it gave any back.
  bool Look(size_t resident_mib, bool idle = true) {
    resident_ = resident_mib * kMib;
    idle_ = idle;
    const int before = times_given_back_;
    clock_.Advance(IdleMemory::kInterval);
    lane_->Wake();
    // What was due comes first.
    absl::Notification done;
    lane_->RunAt(clock_.Now(), [&] { done.Notify(); });
    done.WaitForNotification();
    return times_given_back_ > before;
  }

  FakeClock clock_;
  size_t resident_ = 100 * kMib;
  bool idle_ = true;
  int times_given_back_ = 0;
  std::unique_ptr<BackgroundLane> lane_ = std::make_unique<BackgroundLane>(&clock_);
  IdleMemory memory_{lane_.get(),
                     &clock_,
                     {.is_idle = [this] { return idle_; },
                      .resident_bytes = [this] { return resident_; },
                      .give_back =
                          [this] {
                            resident_ = 110 * kMib;
                            ++times_given_back_;
                          }}};
};

TEST_F(IdleMemoryTest, GivesBackWhatIsMuchWhileNothingRuns) {
  EXPECT_FALSE(Look(115)) << "not worth it";
  EXPECT_FALSE(Look(500, /*idle=*/false));
  EXPECT_TRUE(Look(500));
  EXPECT_FALSE(Look(125)) << "there is more that is needed now";
  EXPECT_TRUE(Look(126));
}

TEST_F(IdleMemoryTest, LearnsThatLessIsNeeded) {
  EXPECT_FALSE(Look(90));
  EXPECT_TRUE(Look(106));
}

// The C library alone would keep what lies below a block that is still in use.
TEST(ThisProcessTest, HasLessInMemoryAfterwards) {
  const IdleMemory::Process process = IdleMemory::ThisProcess([] { return true; });
  const size_t before = process.resident_bytes();
  std::vector<std::unique_ptr<char[]>> blocks;
  for (int i = 0; i < 64 * 1024; ++i) {
    blocks.push_back(std::make_unique<char[]>(1024));  // zeroed, so it is resident
  }
  const auto last = std::make_unique<char[]>(1024);
  if (mallinfo2().uordblks < 64 * kMib) GTEST_SKIP() << "a sanitizer has its own allocator";
  const size_t during = process.resident_bytes();
  EXPECT_GT(during, before + 60 * kMib);
  blocks.clear();
  process.give_back();
  EXPECT_LT(process.resident_bytes(), during - 60 * kMib);
}

}  // namespace
}  // namespace peerage
