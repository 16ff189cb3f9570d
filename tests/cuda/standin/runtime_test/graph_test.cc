// Graphs: captured from one stream or several, launched again, and what may not happen in a
// capture.
#include <memory>
#include <type_traits>

#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct DestroyGraph {
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};
using Executable = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyGraph>;

class GraphTest : public RuntimeTest {
 protected:
  GraphTest() {
    for (cudaEvent_t* event : {&forked_, &joined_}) {
      EXPECT_EQ(cudaEventCreateWithFlags(event, cudaEventDisableTiming), cudaSuccess);
    }
  }
  ~GraphTest() override {
    cudaEventDestroy(forked_);
    cudaEventDestroy(joined_);
  }

  void Begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, mode), cudaSuccess);
  }
  // What ending the capture says, and how many nodes the graph has.
  cudaError_t End(size_t* nodes = nullptr) {
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(stream_, &graph);
    EXPECT_EQ(graph == nullptr, error != cudaSuccess);
    if (error != cudaSuccess) return error;
    size_t count = 0;
    EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &count), cudaSuccess);
    if (nodes != nullptr) *nodes = count;
    cudaGraphExec_t made = nullptr;
    EXPECT_EQ(cudaGraphInstantiate(&made, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    executable_.reset(made);
    return cudaSuccess;
  }
  void LaunchAndWait() {
    ASSERT_EQ(cudaGraphLaunch(executable_.get(), stream_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  }
  // in + 1 on the stream, then + 1 on the other, then + 1 on the stream again.
  void CaptureFork(bool wait_for_fork, bool wait_for_join) {
    ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&middle_), kBytes), cudaSuccess);
    Begin();
    ASSERT_EQ(cudaEventRecord(forked_, stream_), cudaSuccess);
    ASSERT_EQ(LaunchAdd(in_, in_, kCount, 1, stream_), cudaSuccess);
    if (wait_for_fork) {
      ASSERT_EQ(cudaEventRecord(forked_, stream_), cudaSuccess);
    }
    ASSERT_EQ(cudaStreamWaitEvent(other_, forked_, 0), cudaSuccess);
    ASSERT_EQ(LaunchAdd(in_, middle_, kCount, 1, other_), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(joined_, other_), cudaSuccess);
    if (wait_for_join) {
      ASSERT_EQ(cudaStreamWaitEvent(stream_, joined_, 0), cudaSuccess);
    }
    ASSERT_EQ(LaunchAdd(middle_, out_, kCount, 1, stream_), cudaSuccess);
  }

  cudaEvent_t forked_, joined_;
  float* middle_ = nullptr;
  Executable executable_;
};

TEST_F(GraphTest, LaunchesWhatWasCapturedAndNothingBefore) {
  Begin();
  ASSERT_EQ(LaunchAdd(in_, in_, kCount, 1, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(out_, 0, 4, stream_), cudaSuccess);
  size_t nodes = 0;
  ASSERT_EQ(End(&nodes), cudaSuccess);
  EXPECT_EQ(nodes, 2);
  EXPECT_EQ(First(in_), 1);

  standin::ResetCalls();
  LaunchAndWait();
  LaunchAndWait();

  EXPECT_EQ(First(in_), 3);
  EXPECT_EQ(standin::Calls("cudaGraphLaunch"), 2);
  EXPECT_EQ(standin::Calls("cudaLaunchKernel"), 0);
}

TEST_F(GraphTest, ReadsStagingAtEachLaunch) {
  for (const char* schedule : {"eager", "lazy", "random"}) {
    Use(schedule, 1);
    Begin();
    ASSERT_EQ(cudaMemcpyAsync(in_, pinned_, kBytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
    ASSERT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
    ASSERT_EQ(cudaMemcpyAsync(pinned_, out_, kBytes, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
    ASSERT_EQ(End(), cudaSuccess);
    for (const float value : {1.0f, 5.0f}) {
      std::fill_n(pinned_, kCount, value);
      LaunchAndWait();
      EXPECT_EQ(pinned_[kCount - 1], value + 1) << schedule;
    }
  }
}

TEST_F(GraphTest, StagingReusedBeforeTheGraphRanIsCaught) {
  Use("lazy");
  Begin();
  ASSERT_EQ(cudaMemcpyAsync(in_, pinned_, kBytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  ASSERT_EQ(End(), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(executable_.get(), stream_), cudaSuccess);
  pinned_[1] = 3;
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(standin::TakeReports(), ElementsAre(HasSubstr("pinned memory was changed")));
}

TEST_F(GraphTest, ForksAndJoinsOnEverySchedule) {
  CaptureFork(/*wait_for_fork=*/true, /*wait_for_join=*/true);
  size_t nodes = 0;
  ASSERT_EQ(End(&nodes), cudaSuccess);
  EXPECT_EQ(nodes, 3);
  for (const char* schedule : {"eager", "lazy", "random"}) {
    for (int seed = 0; seed < 8; ++seed) {
      Use(schedule, seed);
      Upload(in_, 1);
      LaunchAndWait();
      EXPECT_EQ(First(out_), 4) << schedule << " " << seed;
    }
  }
}

TEST_F(GraphTest, ForkFromTooEarlyIsCaught) {
  CaptureFork(/*wait_for_fork=*/false, /*wait_for_join=*/true);
  ASSERT_EQ(End(), cudaSuccess);
  LaunchAndWait();
  EXPECT_EQ(First(out_), 4);  // the order of capture hides it
  Use("lazy");
  Upload(in_, 1);
  LaunchAndWait();
  EXPECT_EQ(First(out_), 3);
}

TEST_F(GraphTest, UnjoinedForkIsRefused) {
  CaptureFork(/*wait_for_fork=*/true, /*wait_for_join=*/false);
  EXPECT_EQ(End(), cudaErrorStreamCaptureUnjoined);
  // Both streams are as before.
  EXPECT_EQ(LaunchAdd(in_, in_, kCount, 1, other_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
  EXPECT_EQ(First(in_), 2);
}

TEST_F(GraphTest, EventOfBeforeTheCaptureIsRefused) {
  ASSERT_EQ(cudaEventRecord(forked_, other_), cudaSuccess);
  Begin();
  EXPECT_EQ(cudaStreamWaitEvent(stream_, forked_, 0), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(GraphTest, CapturedEventCannotBeWaitedForByTheHost) {
  Begin();
  ASSERT_EQ(cudaEventRecord(forked_, stream_), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(forked_), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaEventQuery(forked_), cudaErrorCapturedEvent);
  EXPECT_EQ(End(), cudaSuccess);
}

// Each call is refused while a graph is captured, and the capture with it.
struct Forbidden {
  const char* name;
  cudaError_t (*call)(cudaStream_t stream, float* device, float* pinned);
  cudaError_t error;
};
void PrintTo(const Forbidden& forbidden, std::ostream* out) { *out << forbidden.name; }

class ForbiddenTest : public GraphTest, public testing::WithParamInterface<Forbidden> {};

TEST_P(ForbiddenTest, EndsTheCapture) {
  Begin();
  EXPECT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
  EXPECT_EQ(GetParam().call(stream_, in_, pinned_), GetParam().error);
  EXPECT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
  // Outside it is allowed.
  EXPECT_EQ(GetParam().call(stream_, in_, pinned_), cudaSuccess);
}

INSTANTIATE_TEST_SUITE_P(
    Calls, ForbiddenTest,
    testing::Values(
        Forbidden{"malloc",
                  [](cudaStream_t, float*, float*) {
                    void* p;
                    return cudaMalloc(&p, 64);
                  },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"free", [](cudaStream_t, float* p, float*) { return cudaFree(p); },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"pinned",
                  [](cudaStream_t, float*, float*) {
                    void* p = nullptr;
                    const cudaError_t error = cudaMallocHost(&p, 64);
                    if (error == cudaSuccess) cudaFreeHost(p);
                    return error;
                  },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"wait",
                  [](cudaStream_t stream, float*, float*) { return cudaStreamSynchronize(stream); },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"query",
                  [](cudaStream_t stream, float*, float*) { return cudaStreamQuery(stream); },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"device_wait",
                  [](cudaStream_t, float*, float*) { return cudaDeviceSynchronize(); },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"copy",
                  [](cudaStream_t, float* p, float* pinned) {
                    return cudaMemcpy(p, pinned, 4, cudaMemcpyHostToDevice);
                  },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"pageable_copy",
                  [](cudaStream_t stream, float* p, float*) {
                    float value = 0;
                    return cudaMemcpyAsync(p, &value, 4, cudaMemcpyHostToDevice, stream);
                  },
                  cudaErrorStreamCaptureUnsupported},
        Forbidden{"default_stream",
                  [](cudaStream_t, float* p, float*) { return LaunchAdd(p, p, 32, 1, nullptr); },
                  cudaErrorStreamCaptureImplicit}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(GraphTest, RelaxedCaptureAllowsAllocation) {
  Begin(cudaStreamCaptureModeRelaxed);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 64), cudaSuccess);
  EXPECT_EQ(End(), cudaSuccess);
}

TEST_F(GraphTest, MemoryFreedUnderAGraphIsCaught) {
  Begin();
  ASSERT_EQ(cudaMemcpyAsync(out_, pinned_, kBytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  ASSERT_EQ(End(), cudaSuccess);
  ASSERT_EQ(cudaFree(out_), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(executable_.get(), stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_THAT(standin::TakeReports(), ElementsAre(HasSubstr("that was freed")));
}

TEST_F(GraphTest, UpdateIsRefusedAloud) {
  Begin();
  ASSERT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  cudaGraphExecUpdateResultInfo info;
  EXPECT_EQ(cudaGraphExecUpdate(executable, graph, &info), cudaErrorNotSupported);
  EXPECT_THAT(standin::TakeReports(), ElementsAre("cudaGraphExecUpdate is not supported"));
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

}  // namespace
}  // namespace peerage::standin_test
