#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace standin {

const char* ErrorName(cudaError_t error);  // as in the toolkit's header
const char* ErrorString(
    cudaError_t error);                    // as the real library words it, where a test may see it
int ErrorOfName(const std::string& name);  // -1: there is none

// After such an error a device is lost: every call fails until the process ends or resets it.
bool IsSticky(cudaError_t error);

}  // namespace standin
