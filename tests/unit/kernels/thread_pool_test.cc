#include "model/kernels/thread_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace peerage::kernels {
namespace {

using ::testing::Each;

// Plain memory, no atomics: a result that is not published, or an index that two threads get, is a
// race that the thread sanitizer reports and usually a wrong count.
TEST(ThreadPoolTest, VisitsEveryIndexOnceAndPublishesTheResults) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    std::mt19937 random(20240705);
    std::vector<int> visits;
    for (int loop = 0; loop < 3'000; ++loop) {
      const int64_t count = random() % (loop % 10 == 0 ? 1000 : 20);
      const int64_t grain = 1 + random() % 7;
      visits.assign(count, 0);

      pool.For(count, grain, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) ++visits[i];
      });

      ASSERT_THAT(visits, Each(1)) << threads << " threads, loop " << loop;
    }
  }
}

TEST(ThreadPoolTest, GivesPiecesOfTheGrainToThreadsOfTheTeam) {
  ThreadPool pool(3);
  std::atomic<int> wrong = 0;

  pool.For(100, 7, [&](int64_t begin, int64_t end, int thread) {
    const bool whole = end - begin == 7 || end == 100;
    if (begin % 7 != 0 || !whole || thread < 0 || thread >= 3) ++wrong;
  });

  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPoolTest, RunsASmallLoopInTheCaller) {
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  int calls = 0;

  pool.For(5, 5, [&](int64_t begin, int64_t end, int thread) {
    ++calls;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 5);
    EXPECT_EQ(thread, 0);
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
  pool.For(0, 1, [&](int64_t, int64_t, int) { ++calls; });

  EXPECT_EQ(calls, 1);
}

// Both pieces run at the same time, or the first to run would wait for the other for ever. What
// they write after they met is plain memory, which only the end of the loop publishes.
TEST(ThreadPoolTest, RunsPiecesInParallelAndPublishesWhatTheyWrote) {
  ThreadPool pool(2);
  for (int loop = 0; loop < 200; ++loop) {
    std::atomic<int> running = 0;
    int written[2] = {};
    pool.For(2, 1, [&](int64_t begin, int64_t, int) {
      ++running;
      while (running != 2) std::this_thread::yield();
      written[begin] = loop;
    });
    ASSERT_THAT(written, Each(loop));
  }
}

// A thread that is held up must not hold up the loop: the others take over its share.
TEST(ThreadPoolTest, HelpsAThreadThatIsHeldUp) {
  ThreadPool pool(2);
  std::atomic<int> done = 0;

  pool.For(20, 1, [&](int64_t begin, int64_t, int) {
    if (begin == 10) {  // the first piece of the second share
      while (done != 19) std::this_thread::yield();
    }
    ++done;
  });

  EXPECT_EQ(done, 20);
}

TEST(ThreadPoolTest, StartsAndStopsWithoutALoop) {
  for (int i = 0; i < 20; ++i) ThreadPool pool(1 + i % 4);
}

}  // namespace
}  // namespace peerage::kernels
