#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/container/pickle.h"
#include "model/tensor_type.h"

namespace peerage {

// The elements of a torch storage, by the name of its class.
struct StorageDtype {
  absl::string_view global;  // "torch.FloatStorage"
  absl::string_view name;    // as safetensors files call it: "F32"
  int bytes = 0;             // of an element
  std::optional<TensorType> type;
};

// nullptr when it is no storage's class.
const StorageDtype* FindStorageDtype(absl::string_view global);

// Whether calling it gives an empty dict to be filled.
bool MakesDict(absl::string_view global);

// Whether the file names only what describes tensors and plain values: torch's functions that put
// a tensor together, and calls whose results are skipped (sizes, devices, numpy's arrays and
// scalars, sets, paths). Objects of any class may occur, as they are skipped too, if they are made
// without arguments. The first other global is an error that names it and its offset.
absl::Status CheckGlobals(const PickleContents& pickle);

}  // namespace peerage
