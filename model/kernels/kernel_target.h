#pragma once

namespace peerage::kernels {

// The instruction set that Highway chose: "AVX2", "AVX3", "AVX3_DL", ... A kernel that gains
// nothing from the best one is compiled for those below it.
const char* KernelTarget();

}  // namespace peerage::kernels
