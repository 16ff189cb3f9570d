#include "server/idle_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kMib = 1 << 20;

// A process whose memory is numbers. Giving back leaves 110 MiB beside what is used.
class IdleMemoryTest : public ::testing::Test {
 protected:
  IdleMemoryTest() { memory_.Start(); }
  ~IdleMemoryTest() override { lane_.reset(); }

  // The look that is due after the interval, with so much in memory, and so much of it used;
  // whether it gave any back.
  bool Look(int64_t resident_mib, int64_t used_mib = 0, bool idle = true) {
    spare_ = (resident_mib - used_mib) * kMib;
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
  int64_t spare_ = 100 * kMib;
  bool idle_ = true;
  int times_given_back_ = 0;
  std::unique_ptr<BackgroundLane> lane_ = std::make_unique<BackgroundLane>(&clock_);
  IdleMemory memory_{lane_.get(),
                     &clock_,
                     {.is_idle = [this] { return idle_; },
                      .spare_bytes = [this] { return spare_; },
                      .give_back =
                          [this] {
                            spare_ = 110 * kMib;
                            ++times_given_back_;
                          }}};
};

TEST_F(IdleMemoryTest, GivesBackWhatIsMuchWhileNothingRuns) {
  EXPECT_FALSE(Look(115)) << "not worth it";
  EXPECT_FALSE(Look(500, 0, /*idle=*/false));
  EXPECT_TRUE(Look(500));
  EXPECT_FALSE(Look(125)) << "there is more that is no heap's now";
  EXPECT_TRUE(Look(126));
}

TEST_F(IdleMemoryTest, LearnsThatLessIsNoHeaps) {
  EXPECT_FALSE(Look(90));
  EXPECT_TRUE(Look(106));
}

// As answers that nobody had read yet.
TEST_F(IdleMemoryTest, GivesBackWhatWasStillUsedTheLastTime) {
  EXPECT_FALSE(Look(500, 400));
  EXPECT_TRUE(Look(500, 370));
  EXPECT_FALSE(Look(480, 370));
  EXPECT_TRUE(Look(480, 10));
}

// The second field of /proc/self/statm (proc(5)).
int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// The C library alone would keep what lies below a block that is still in use.
TEST(ThisProcessTest, HasLessInMemoryAfterwards) {
  const IdleMemory::Process process = IdleMemory::ThisProcess([] { return true; });
  std::vector<std::unique_ptr<char[]>> blocks;
  for (int i = 0; i < 64 * 1024; ++i) {
    blocks.push_back(std::make_unique<char[]>(1024));  // zeroed, so it is resident
  }
  const auto last = std::make_unique<char[]>(1024);
  if (mallinfo2().uordblks < size_t{64 * kMib}) GTEST_SKIP() << "a sanitizer has its own allocator";
  const int64_t spare_before = process.spare_bytes();
  const int64_t resident_before = ResidentBytes();
  blocks.clear();
  EXPECT_GT(process.spare_bytes(), spare_before + 60 * kMib);
  process.give_back();
  EXPECT_LT(ResidentBytes(), resident_before - 60 * kMib);
}

}  // namespace
}  // namespace peerage
