#include "server/available_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace peerage {
namespace {

namespace fs = std::filesystem;

// A machine's /proc and /sys in a folder of its own.
class AvailableMemoryTest : public ::testing::Test {
 protected:
  AvailableMemoryTest() {
    root_ = fs::path(::testing::TempDir()) /
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    Write("proc/meminfo", "MemTotal:  2000 kB\nMemAvailable:    1000 kB\n");
  }
  ~AvailableMemoryTest() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  int64_t Available() const { return AvailableMemory(root_.string()); }

 private:
  fs::path root_;
};

TEST_F(AvailableMemoryTest, IsTheKernelsFigureWithoutCgroups) {
  EXPECT_EQ(Available(), 1000 * 1024);
}

TEST_F(AvailableMemoryTest, IsWhatACgroupLeavesWithItsCacheCountedAsFree) {
  Write("proc/self/cgroup", "0::/pod/container\n");
  Write("sys/fs/cgroup/pod/container/memory.max", "500000\n");
  Write("sys/fs/cgroup/pod/container/memory.current", "300000\n");
  Write("sys/fs/cgroup/pod/container/memory.stat", "anon 1\ninactive_file 100000\n");

  EXPECT_EQ(Available(), 300000);
}

TEST_F(AvailableMemoryTest, ObeysTheTightestParent) {
  Write("proc/self/cgroup", "0::/pod/container\n");
  Write("sys/fs/cgroup/pod/container/memory.max", "max\n");
  Write("sys/fs/cgroup/pod/container/memory.current", "10\n");
  Write("sys/fs/cgroup/pod/memory.max", "1000\n");
  Write("sys/fs/cgroup/pod/memory.current", "400\n");

  EXPECT_EQ(Available(), 600);
}

TEST_F(AvailableMemoryTest, SeesALimitAtTheRootOfACgroupNamespace) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "5000\n");
  Write("sys/fs/cgroup/memory.current", "1000\n");

  EXPECT_EQ(Available(), 4000);
}

TEST_F(AvailableMemoryTest, ReadsVersionOne) {
  Write("proc/self/cgroup", "9:cpu,cpuacct:/x\n4:memory:/group\n0::/\n");
  Write("sys/fs/cgroup/memory/group/memory.limit_in_bytes", "9000\n");
  Write("sys/fs/cgroup/memory/group/memory.usage_in_bytes", "8000\n");
  Write("sys/fs/cgroup/memory/group/memory.stat", "cache 7\ntotal_inactive_file 500\n");

  EXPECT_EQ(Available(), 1500);
}

TEST_F(AvailableMemoryTest, IsNeverNegative) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "100\n");
  Write("sys/fs/cgroup/memory.current", "200\n");

  EXPECT_EQ(Available(), 0);
}

TEST(AvailableMemoryOfThisMachineTest, IsKnown) { EXPECT_GT(AvailableMemory(), 0); }

}  // namespace
}  // namespace peerage
