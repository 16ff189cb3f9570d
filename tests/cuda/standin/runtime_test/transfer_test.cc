// Copies and memsets: of one and two dimensions, kinds, and pinned memory that is touched too
// early.
#include <cmath>

#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using TransferTest = RuntimeTest;

TEST_F(TransferTest, CopiesRowsAndLeavesWhatLiesBetween) {
  const std::vector<uint8_t> from = {1, 2, 3, 4, 5, 6};
  std::vector<uint8_t> to(8, 9);
  ASSERT_EQ(cudaMemset(out_, 7, 64), cudaSuccess);

  ASSERT_EQ(cudaMemcpy2D(out_, 16, from.data(), 3, 2, 2, cudaMemcpyHostToDevice), cudaSuccess);
  ASSERT_EQ(cudaMemset2D(reinterpret_cast<char*>(out_) + 1, 16, 8, 1, 2), cudaSuccess);
  ASSERT_EQ(cudaMemcpy2DAsync(to.data(), 4, out_, 16, 3, 2, cudaMemcpyDeviceToHost, stream_),
            cudaSuccess);

  EXPECT_THAT(to, ElementsAre(1, 8, 7, 9, 4, 8, 7, 9));
  EXPECT_EQ(cudaMemcpy2D(out_, 1, from.data(), 3, 2, 2, cudaMemcpyHostToDevice),
            cudaErrorInvalidPitchValue);
}

TEST_F(TransferTest, KindMustSayWhatThePointersAre) {
  EXPECT_EQ(cudaMemcpy(in_, out_, 4, cudaMemcpyDeviceToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(in_, pinned_, 4, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(in_, pinned_, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(in_, out_, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(pinned_, 0, 4), cudaErrorInvalidValue);
}

TEST_F(TransferTest, CopiesAreCountedByKind) {
  float host = 0;
  standin::ResetCalls();

  cudaMemcpyAsync(in_, pinned_, 4, cudaMemcpyHostToDevice, stream_);
  cudaMemcpyAsync(pinned_, in_, 4, cudaMemcpyDeviceToHost, stream_);
  cudaMemcpyAsync(&host, in_, 4, cudaMemcpyDeviceToHost, stream_);
  cudaMemcpyAsync(out_, in_, 4, cudaMemcpyDeviceToDevice, stream_);

  EXPECT_EQ(standin::Calls("host to device copies"), 1);
  EXPECT_EQ(standin::Calls("device to host copies"), 2);
  EXPECT_EQ(standin::Calls("device to device copies"), 1);
  EXPECT_EQ(standin::Calls("pageable copies"), 1);
  EXPECT_EQ(standin::Calls("cudaMemcpyAsync"), 4);
}

TEST_F(TransferTest, ResultReadBeforeTheWaitIsNotANumber) {
  Use("lazy");
  pinned_[0] = 2;
  ASSERT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(pinned_, out_, kBytes, cudaMemcpyDeviceToHost, stream_), cudaSuccess);

  EXPECT_TRUE(std::isnan(pinned_[0]));  // an old result would look right

  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 2);
}

TEST_F(TransferTest, StagingReusedTooEarlyIsCaught) {
  Use("lazy");
  for (const bool wait : {true, false}) {
    pinned_[0] = 5;
    ASSERT_EQ(cudaMemcpyAsync(in_, pinned_, kBytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
    if (wait) {
      ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    }
    pinned_[0] = 7;
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    if (wait) {
      EXPECT_THAT(standin::TakeReports(), IsEmpty());
    } else {
      EXPECT_THAT(standin::TakeReports(), ElementsAre(HasSubstr("pinned memory was changed")));
    }
  }
}

TEST_F(TransferTest, PinnedMemoryThatGoesThereAndBackInOrderIsNotBlamed) {
  for (const char* schedule : {"eager", "lazy", "random"}) {
    Use(schedule, 3);
    std::fill_n(pinned_, kCount, 4.0f);
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(cudaMemcpyAsync(in_, pinned_, kBytes, cudaMemcpyHostToDevice, stream_),
                cudaSuccess);
      ASSERT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
      ASSERT_EQ(cudaMemcpyAsync(pinned_, out_, kBytes, cudaMemcpyDeviceToHost, stream_),
                cudaSuccess);
    }
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    EXPECT_EQ(pinned_[kCount - 1], 7) << schedule;
  }
}

TEST_F(TransferTest, PageableCopiesAreMadeAtOnce) {
  Use("lazy");
  std::vector<float> values(kCount, 6);
  ASSERT_EQ(cudaMemcpyAsync(in_, values.data(), kBytes, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  values[0] = 0;
  EXPECT_EQ(First(in_), 6);
}

}  // namespace
}  // namespace peerage::standin_test
