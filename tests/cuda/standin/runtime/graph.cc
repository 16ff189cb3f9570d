#include "graph.h"

#include <algorithm>

#include "stream.h"

namespace standin {

cudaError_t Graph::Run(Schedule schedule, const std::function<uint64_t()>& random) const {
  std::vector<bool> done(nodes.size());
  for (size_t count = 0; count < nodes.size(); ++count) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto& after = nodes[i].after;
      if (!done[i] && std::all_of(after.begin(), after.end(), [&](size_t n) { return done[n]; })) {
        ready.push_back(i);
      }
      if (!ready.empty() && schedule == Schedule::kEager) break;
    }
    const size_t next = schedule == Schedule::kRandom ? ready[random() % ready.size()]
                        : schedule == Schedule::kLazy ? ready.back()
                                                      : ready.front();
    if (const cudaError_t error = nodes[next].work.run(); error != cudaSuccess) return error;
    done[next] = true;
  }
  return cudaSuccess;
}

bool Graph::Reaches(size_t from, size_t to) const {
  std::vector<bool> reached(nodes.size());
  reached[from] = true;
  for (size_t i = from + 1; i <= to; ++i) {
    for (const size_t n : nodes[i].after) reached[i] = reached[i] || reached[n];
  }
  return reached[to];
}

HostAccess Graph::host_access() const {
  HostAccess all;
  for (const Node& node : nodes) {
    const HostAccess& host = node.work.host;
    all.reads.insert(all.reads.end(), host.reads.begin(), host.reads.end());
    all.writes.insert(all.writes.end(), host.writes.begin(), host.writes.end());
    all.calls_host |= host.calls_host;
  }
  return all;
}

cudaError_t Capture::Add(Stream& stream, Work work) {
  if (invalid_) return cudaErrorStreamCaptureInvalidated;
  graph_.nodes.push_back({std::move(work), stream.frontier});
  stream.frontier = {graph_.nodes.size() - 1};
  return cudaSuccess;
}

cudaError_t Capture::Join(Stream& stream, const std::vector<size_t>& after) {
  if (invalid_) return cudaErrorStreamCaptureInvalidated;
  if (std::find(streams_.begin(), streams_.end(), &stream) == streams_.end()) {
    streams_.push_back(&stream);
  }
  for (const size_t node : after) {
    if (std::find(stream.frontier.begin(), stream.frontier.end(), node) == stream.frontier.end()) {
      stream.frontier.push_back(node);
    }
  }
  return cudaSuccess;
}

bool Capture::HasUnjoined() const {
  for (const Stream* stream : streams_) {
    for (const size_t node : stream->frontier) {
      if (std::none_of(origin_->frontier.begin(), origin_->frontier.end(),
                       [&](size_t last) { return last >= node && graph_.Reaches(node, last); })) {
        return true;
      }
    }
  }
  return false;
}

cudaError_t Capture::End(const Stream& stream) {
  if (&stream != origin_) return cudaErrorStreamCaptureUnmatched;
  if (mode_ != cudaStreamCaptureModeRelaxed && thread_ != std::this_thread::get_id()) {
    return cudaErrorStreamCaptureWrongThread;
  }
  if (invalid_) return cudaErrorStreamCaptureInvalidated;
  return HasUnjoined() ? cudaErrorStreamCaptureUnjoined : cudaSuccess;
}

bool Capture::Forbids() const {
  return mode_ == cudaStreamCaptureModeGlobal ||
         (mode_ == cudaStreamCaptureModeThreadLocal && thread_ == std::this_thread::get_id());
}

void Capture::Release() {
  for (Stream* stream : std::vector(streams_)) {
    stream->frontier.clear();
    stream->capture = nullptr;
  }
}

}  // namespace standin
