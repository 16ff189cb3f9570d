#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "settings.h"
#include "staging.h"

namespace standin {

struct Stream;

// What a stream or a graph does in one go.
struct Work {
  std::string name;
  cudaGraphNodeType type = cudaGraphNodeTypeKernel;
  std::function<cudaError_t()> run;
  HostAccess host;
};

// Pieces of work, each after those that it depends on, which have lower numbers.
struct Graph {
  struct Node {
    Work work;
    std::vector<size_t> after;
  };
  std::vector<Node> nodes;
  // The last launch.
  std::weak_ptr<Stream> last_stream;
  uint64_t last_ticket = 0;

  // Runs all; which of those that may run next is picked by the schedule, so that a missing
  // dependency shows.
  cudaError_t Run(Schedule schedule, const std::function<uint64_t()>& random) const;
  bool Reaches(size_t from, size_t to) const;  // `to` runs after `from`, or is it
  HostAccess host_access() const;
};

// A graph that is being made of what streams are told, from cudaStreamBeginCapture on. Other
// streams join by waiting for an event of a stream that takes part.
class Capture {
 public:
  Capture(Stream& origin, cudaStreamCaptureMode mode)
      : origin_(&origin), mode_(mode), thread_(std::this_thread::get_id()) {}

  cudaError_t Add(Stream& stream, Work work);
  cudaError_t Join(Stream& stream, const std::vector<size_t>& after);
  // An error or success; then the graph is made.
  cudaError_t End(const Stream& stream);
  // A call that is not allowed while this thread captures ends the capture in failure.
  bool Forbids() const;
  void Invalidate() { invalid_ = true; }
  bool invalid() const { return invalid_; }
  const Graph& graph() const { return graph_; }
  // Nobody takes part any more.
  void Release();
  void Forget(Stream& stream) { std::erase(streams_, &stream); }

 private:
  bool HasUnjoined() const;

  Stream* const origin_;
  const cudaStreamCaptureMode mode_;
  const std::thread::id thread_;
  bool invalid_ = false;
  Graph graph_;
  std::vector<Stream*> streams_;  // those that joined, and the origin
};

}  // namespace standin
