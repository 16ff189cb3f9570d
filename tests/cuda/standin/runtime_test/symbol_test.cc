// Variables of the device: their addresses, copies to and from them, one of each on each device.
#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

class SymbolTest : public RuntimeTest {
 protected:
  ~SymbolTest() override {
    cudaSetDevice(1);
    cudaDeviceReset();
    cudaSetDevice(0);
  }

  static int ReadCounter() {
    int value = -1;
    EXPECT_EQ(cudaMemcpyFromSymbol(&value, Counter(), sizeof value), cudaSuccess);
    return value;
  }
};

TEST_F(SymbolTest, KernelsSeeWhatWasCopiedAndTheHostWhatTheyLeft) {
  const float table[] = {2, 3};
  EXPECT_EQ(ReadCounter(), 5);  // the initial value
  ASSERT_EQ(cudaMemcpyToSymbol(Table(), table, sizeof table), cudaSuccess);

  ASSERT_EQ(LaunchCount(4, out_, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);

  EXPECT_EQ(ReadCounter(), 9);
  EXPECT_EQ(First(out_), 27);
}

TEST_F(SymbolTest, AsynchronousCopiesKeepTheirOffset) {
  Use("lazy");
  pinned_[0] = 7;
  ASSERT_EQ(cudaMemcpyToSymbolAsync(Table(), pinned_, 4, 4, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  ASSERT_EQ(cudaMemcpyFromSymbolAsync(pinned_ + 1, Table(), 4, 4, cudaMemcpyDeviceToHost, stream_),
            cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[1], 7);
}

TEST_F(SymbolTest, CopiesBeyondAVariableAreRefused) {
  size_t bytes = 0;
  ASSERT_EQ(cudaGetSymbolSize(&bytes, Table()), cudaSuccess);
  EXPECT_EQ(bytes, 16);
  EXPECT_EQ(cudaMemcpyToSymbol(Table(), pinned_, 20), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyToSymbol(Table(), pinned_, 4, 13), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyToSymbol(pinned_, pinned_, 4), cudaErrorInvalidSymbol);
}

TEST_F(SymbolTest, EachDeviceHasItsOwn) {
  void *here = nullptr, *there = nullptr;
  const int value = 11;
  ASSERT_EQ(cudaGetSymbolAddress(&here, Counter()), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(here, &value, sizeof value, cudaMemcpyHostToDevice), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  ASSERT_EQ(cudaGetSymbolAddress(&there, Counter()), cudaSuccess);

  EXPECT_NE(here, there);
  EXPECT_EQ(ReadCounter(), 5);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(ReadCounter(), 11);
}

}  // namespace
}  // namespace peerage::standin_test
