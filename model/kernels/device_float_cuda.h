#pragma once

#include <cstddef>
#include <cstdint>

// What every launcher of CUDA kernels shares.
//
// Launchers take device pointers and only enqueue on their stream: none allocates or waits, so all
// of them can be captured into a graph. They return what the launch returned.
//
// Rows of a step: a padded row (its position is -1) is skipped or becomes zeros, and touches
// neither cache nor counters. Every sum runs in an order that depends on its row alone, so results
// are bit-equal whatever else is in the batch.
namespace peerage::kernels::cuda {

// How numbers lie in device memory. Activations (what linear layers and experts read) have one of
// the two, weights and the KV cache one of their own. Sums and the residual stream are f32.
enum class DeviceFloat : uint8_t { kF32, kBF16 };

constexpr size_t BytesOf(DeviceFloat type) { return type == DeviceFloat::kF32 ? 4 : 2; }

}  // namespace peerage::kernels::cuda
