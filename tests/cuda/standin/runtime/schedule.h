#pragma once

#include <memory>

#include "stream.h"

namespace standin {

// The handle's stream: 0 and cudaStreamLegacy are the current device's default stream. Null: none.
std::shared_ptr<Stream> FindStream(cudaStream_t handle);

// Work for a stream, or for the graph that it captures. `after`: what it waits for beyond the
// stream's own order and that of the default stream.
cudaError_t Enqueue(const std::shared_ptr<Stream>& stream, Work work,
                    std::vector<Moment> after = {});

// Runs what is queued up to a moment.
void DrainTo(const Moment& moment);
void Drain(const std::shared_ptr<Stream>& stream);
void DrainDevice(Device& device);
// Whether the moment has come. A program that polls must see progress on any schedule: one piece
// runs.
bool Poll(const Moment& moment);

// A call that is not allowed while a graph is captured: makes the captures that forbid it fail.
cudaError_t RefuseWhileCapturing();

}  // namespace standin
