#include "server/identity_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

// A file and what reads it, as well as this says.
class IdentityWatchTest : public ::testing::Test {
 protected:
  IdentityWatchTest() : log_(std::make_unique<Log>(LogOptions(), &clock_, &log_text_)) {
    Write("first");
    auto started = IdentityWatch::Start({{"tokens", {path_}, [this] { return Read(); }}},
                                        log_.get(), [this](const std::string& what) {
                                          EXPECT_EQ(what, "tokens");
                                          ++failures_;
                                        });
    EXPECT_TRUE(started.ok()) << started.status();
    watch_ = *std::move(started);
  }

  absl::Status Read() {
    absl::MutexLock lock(&mu_);
    ++reads_;
    return result_;
  }

  // At once: nobody sees half of it.
  void Write(const std::string& text) const {
    const std::string next = path_ + ".next";
    std::ofstream(next) << text;
    std::filesystem::rename(next, path_);
  }

  void SetResult(absl::Status result) {
    absl::MutexLock lock(&mu_);
    result_ = std::move(result);
  }

  int reads() {
    absl::MutexLock lock(&mu_);
    return reads_;
  }

  // Of its own accord: nobody asks.
  void AwaitReads(int more) {
    absl::MutexLock lock(&mu_);
    const int wanted = reads_ + more;
    const auto done = [this, wanted]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return reads_ >= wanted; };
    mu_.Await(absl::Condition(&done));
  }

  // How often the log says it, at its end.
  int Said(const std::string& text) {
    watch_.reset();
    log_.reset();
    const std::string log = log_text_.str();
    int count = 0;
    for (size_t at = log.find(text); at != log.npos; at = log.find(text, at + 1)) ++count;
    return count;
  }

  const std::string path_ = ::testing::TempDir() + "/identity_watch_test_file";
  FakeClock clock_;
  std::ostringstream log_text_;
  std::unique_ptr<Log> log_;
  std::atomic<int> failures_ = 0;
  absl::Mutex mu_;
  int reads_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status result_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<IdentityWatch> watch_;
};

TEST_F(IdentityWatchTest, TriesAgainWhatFailedAndSaysSoOnce) {
  SetResult(absl::InvalidArgumentError("too many open files"));
  Write("second");
  AwaitReads(
      3);  // the file is the same from the first one on; a failure is counted before the next
  EXPECT_GE(failures_, 2);
  SetResult(absl::OkStatus());
  AwaitReads(1);
  EXPECT_EQ(Said("tokens: as before, because too many open files"), 1);
  EXPECT_EQ(Said("tokens: read anew"), 1);
}

TEST_F(IdentityWatchTest, ReadsWhenItIsToldToThoughNothingChanged) {
  const int before = reads();
  watch_->ReadNow();
  EXPECT_EQ(reads(), before + 1);
  SetResult(absl::InvalidArgumentError("expired"));
  watch_->ReadNow();
  EXPECT_GE(failures_, 1);
  EXPECT_EQ(Said("tokens: as before, because expired"), 1);
}

}  // namespace
}  // namespace peerage
