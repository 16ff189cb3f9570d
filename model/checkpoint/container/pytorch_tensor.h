#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/container/pickle.h"
#include "model/checkpoint/container/pytorch_globals.h"

namespace peerage {

// A tensor as a pickle describes it: a view of a storage, which is a file of the archive.
struct PickledTensor {
  const StorageDtype* dtype = nullptr;
  absl::string_view storage;  // its key
  int64_t storage_elements = 0;
  int64_t offset = 0;  // in the storage, in elements
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
  uint64_t bytes = 0;            // of all its elements

  // Whether its elements lie row by row without gaps.
  bool IsRowMajor() const;
};

// Whether the value is a tensor or a parameter.
bool IsTensor(const PickleContents& pickle, uint32_t value);

// Reads the description and proves that the storage holds every element. A tensor that repeats its
// storage's elements may have 1 GiB at most. Precondition: IsTensor.
absl::StatusOr<PickledTensor> ReadPickledTensor(const PickleContents& pickle, uint32_t value);

}  // namespace peerage
