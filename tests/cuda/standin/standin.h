// What the stand-in for the CUDA runtime offers to the other stand-in libraries. What tests may ask
// is in tests/cuda/support/standin_control.h; settings by environment are in runtime/settings.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>

extern "C" {

// Counts a call; the error that a test wants it to return, or 0.
int cudaStandinInjected(const char* function);
// Work for a stream of the current device.
cudaError_t cudaStandinEnqueue(cudaStream_t stream, const char* name,
                               std::function<cudaError_t()>* run);
// Host address of device bytes, or null when they are no allocation's.
void* cudaStandinBytes(const void* device, size_t bytes);
// Whether all of an allocation's bytes were written since it was made; and that they are.
int cudaStandinWasWritten(const void* device, size_t bytes);
void cudaStandinMarkWritten(const void* device, size_t bytes);
// Something that a device would not notice. From within work only.
void cudaStandinReport(const char* report);
// Says that a function is not supported, so that the process fails: cudaErrorNotSupported.
int cudaStandinRefuse(const char* function);
}
