// Streams and events: what is ordered, what only looks so, and that a correct program has one
// result on every schedule.
#include <atomic>
#include <thread>

#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using StreamTest = RuntimeTest;

// One chain of work over two streams: 1 + 1 in one, then + 1 in the other.
enum class Order { kEvent, kNone, kWrongEvent };
float AcrossStreams(cudaStream_t stream, cudaStream_t other, float* in, float* out, Order order) {
  cudaEvent_t done;
  EXPECT_EQ(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), cudaSuccess);
  if (order == Order::kWrongEvent) {
    EXPECT_EQ(cudaEventRecord(done, stream), cudaSuccess);
  }
  EXPECT_EQ(LaunchAdd(in, in, 256, 1, stream), cudaSuccess);
  if (order == Order::kEvent) {
    EXPECT_EQ(cudaEventRecord(done, stream), cudaSuccess);
  }
  if (order != Order::kNone) {
    EXPECT_EQ(cudaStreamWaitEvent(other, done, 0), cudaSuccess);
  }
  EXPECT_EQ(LaunchAdd(in, out, 256, 1, other), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(other), cudaSuccess);
  float value = 0;
  EXPECT_EQ(cudaMemcpy(&value, out, 4, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(done), cudaSuccess);
  return value;
}

TEST_F(StreamTest, EventOrdersTwoStreamsOnEverySchedule) {
  for (const char* schedule : {"eager", "lazy", "random"}) {
    for (int seed = 0; seed < 8; ++seed) {
      Use(schedule, seed);
      Upload(in_, 1);
      EXPECT_EQ(AcrossStreams(stream_, other_, in_, out_, Order::kEvent), 3)
          << schedule << " " << seed;
    }
  }
}

TEST_F(StreamTest, MissingEventIsCaught) {
  Use("lazy");
  EXPECT_EQ(AcrossStreams(stream_, other_, in_, out_, Order::kNone), 2);
}

TEST_F(StreamTest, EventRecordedTooEarlyIsCaught) {
  Use("lazy");
  EXPECT_EQ(AcrossStreams(stream_, other_, in_, out_, Order::kWrongEvent), 2);
}

TEST_F(StreamTest, MissingEventIsCaughtBySomeSeed) {
  int wrong = 0;
  for (int seed = 0; seed < 16; ++seed) {
    Use("random", seed);
    Upload(in_, 1);
    wrong += AcrossStreams(stream_, other_, in_, out_, Order::kNone) != 3;
  }
  EXPECT_GT(wrong, 0);
}

TEST_F(StreamTest, DefaultStreamWaitsForBlockingStreamsOnly) {
  Use("lazy");
  cudaStream_t blocking;
  ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
  ASSERT_EQ(LaunchAdd(in_, in_, kCount, 1, blocking), cudaSuccess);
  EXPECT_EQ(First(in_), 2);

  ASSERT_EQ(LaunchAdd(in_, in_, kCount, 1, stream_), cudaSuccess);
  EXPECT_EQ(First(in_), 2);  // nobody waited for that stream
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(First(in_), 3);

  ASSERT_EQ(LaunchAdd(in_, in_, kCount, 1, nullptr), cudaSuccess);
  ASSERT_EQ(LaunchAdd(in_, out_, kCount, 1, blocking), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(blocking), cudaSuccess);
  EXPECT_EQ(First(out_), 5);
  EXPECT_EQ(cudaStreamDestroy(blocking), cudaSuccess);
}

TEST_F(StreamTest, PollingComesToAnEndOnEverySchedule) {
  for (const char* schedule : {"eager", "lazy", "random"}) {
    Use(schedule, 5);
    cudaEvent_t event;
    ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
    EXPECT_EQ(cudaEventQuery(event), cudaSuccess);  // never recorded
    for (int i = 0; i < 5; ++i) ASSERT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
    int polls = 0;
    while (cudaEventQuery(event) == cudaErrorNotReady) ASSERT_LT(++polls, 10) << schedule;
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // not ready is no error
    EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  }
}

TEST_F(StreamTest, EventsTellTheTimeBetweenThem) {
  cudaEvent_t from, to, untimed;
  float ms = -1;
  ASSERT_EQ(cudaEventCreate(&from), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&to), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, from, to), cudaErrorInvalidResourceHandle);
  Use("lazy");
  ASSERT_EQ(cudaEventRecord(from, stream_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(untimed, stream_), cudaSuccess);
  ASSERT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(to, stream_), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, from, to), cudaErrorNotReady);
  ASSERT_EQ(cudaEventSynchronize(to), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, from, to), cudaSuccess);
  EXPECT_GT(ms, 0);
  EXPECT_EQ(cudaEventElapsedTime(&ms, untimed, to), cudaErrorInvalidResourceHandle);
  for (cudaEvent_t event : {from, to, untimed}) EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(StreamTest, DestroyedHandlesAreRefused) {
  cudaStream_t stream;
  cudaEvent_t event;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);  // the stream's work was done
  ASSERT_EQ(cudaEventDestroy(event), cudaSuccess);

  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(LaunchAdd(in_, out_, kCount, 1, stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event, 0), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
}

TEST_F(StreamTest, HostFunctionsRunInTheirTurnAndMayNotCallCuda) {
  Use("lazy");
  int calls = 0;
  const auto count = [](void* p) { ++*static_cast<int*>(p); };
  ASSERT_EQ(cudaLaunchHostFunc(stream_, count, &calls), cudaSuccess);
  EXPECT_EQ(calls, 0);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(calls, 1);

  const auto call = [](void* p) { *static_cast<cudaError_t*>(p) = cudaDeviceSynchronize(); };
  cudaError_t error = cudaSuccess;
  ASSERT_EQ(cudaLaunchHostFunc(stream_, call, &error), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(error, cudaErrorNotPermitted);
  EXPECT_THAT(standin::TakeReports(), ElementsAre(HasSubstr("cudaLaunchHostFunc")));
}

// Threads with a stream each wait for each other's host functions, allocate and launch at once.
TEST_F(StreamTest, ThreadsShareTheRuntime) {
  for (const char* schedule : {"eager", "lazy", "random"}) {
    Use(schedule, 9);
    std::atomic<int> host_functions = 0;
    const auto work = [&](float x) {
      cudaStream_t stream;
      ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
      for (int i = 0; i < 20; ++i) {
        const DeviceArray<float> values(kCount, x);
        ASSERT_EQ(LaunchAdd(values.data(), values.data(), kCount, 1, stream), cudaSuccess);
        ASSERT_EQ(
            cudaLaunchHostFunc(
                stream, [](void* p) { ++*static_cast<std::atomic<int>*>(p); }, &host_functions),
            cudaSuccess);
        ASSERT_EQ(LaunchAdd(values.data(), values.data(), kCount, 1, stream), cudaSuccess);
        ASSERT_EQ(i % 2 == 0 ? cudaStreamSynchronize(stream) : cudaDeviceSynchronize(),
                  cudaSuccess);
        EXPECT_EQ(First(values.data()), x + 2);
      }
      ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    };
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) threads.emplace_back(work, static_cast<float>(10 * t));
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(host_functions, 80) << schedule;
  }
}

}  // namespace
}  // namespace peerage::standin_test
