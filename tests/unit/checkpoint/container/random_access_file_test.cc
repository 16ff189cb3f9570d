#include "model/checkpoint/container/random_access_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/pattern_bytes.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

class RandomAccessFileTest : public ::testing::Test {
 protected:
  const TemporaryDirectory directory_;
  const std::string bytes_ = PatternBytes(10'000);
  const std::string path_ = directory_.Write("weights", bytes_);
  std::vector<uint8_t> read_ = std::vector<uint8_t>(100);
};

TEST_F(RandomAccessFileTest, ReadsAnyRange) {
  const auto file = OpenRandomAccessFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();

  EXPECT_EQ((*file)->size(), bytes_.size());
  for (const size_t offset : {0, 1, 5'000, 9'900}) {
    ASSERT_TRUE((*file)->Read(offset, absl::MakeSpan(read_)).ok());
    EXPECT_EQ(std::string(read_.begin(), read_.end()), bytes_.substr(offset, 100)) << offset;
  }
  EXPECT_TRUE((*file)->Read(10'000, {}).ok());
}

TEST_F(RandomAccessFileTest, RefusesARangeBeyondTheEnd) {
  const auto file = OpenRandomAccessFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();

  for (const uint64_t offset : {uint64_t{9'901}, uint64_t{10'001}, ~uint64_t{0}}) {
    const absl::Status status = (*file)->Read(offset, absl::MakeSpan(read_));
    EXPECT_TRUE(absl::IsOutOfRange(status)) << offset;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  }
}

TEST_F(RandomAccessFileTest, NoticesThatTheFileWasCutShort) {
  const auto file = OpenRandomAccessFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  std::filesystem::resize_file(path_, 9'950);

  const absl::Status status = (*file)->Read(9'900, absl::MakeSpan(read_));

  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_ + ": ended at byte 9950"));
}

TEST_F(RandomAccessFileTest, NoticesThatTheFileGrewEvenIfItsTimeWasPutBack) {
  const auto written = std::filesystem::last_write_time(path_);
  const auto file = OpenRandomAccessFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Read(0, absl::MakeSpan(read_)).ok());
  std::filesystem::resize_file(path_, 10'001);
  std::filesystem::last_write_time(path_, written);

  EXPECT_TRUE(absl::IsDataLoss((*file)->Read(0, absl::MakeSpan(read_))));
}

TEST_F(RandomAccessFileTest, NoticesThatTheFileWasWrittenTo) {
  const auto file = OpenRandomAccessFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  const struct timespec times[2] = {{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 1, .tv_nsec = 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);

  EXPECT_TRUE(absl::IsDataLoss((*file)->Read(0, absl::MakeSpan(read_))));
}

TEST_F(RandomAccessFileTest, OpensRegularFilesOnly) {
  const std::string pipe = directory_.PathOf("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);

  EXPECT_TRUE(absl::IsNotFound(OpenRandomAccessFile(directory_.PathOf("none")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenRandomAccessFile(directory_.path()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenRandomAccessFile(pipe).status()));
}

TEST_F(RandomAccessFileTest, ReadsASmallFileWholeAndRefusesALargeOne) {
  const auto text = ReadTextFile(path_, 10'000);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, bytes_);

  EXPECT_TRUE(absl::IsInvalidArgument(ReadTextFile(path_, 9'999).status()));
}

}  // namespace
}  // namespace peerage
