#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/pickle.h"

namespace peerage {

// A dict with tensors right inside.
struct TensorDict {
  std::string key;  // keys of the dicts around it, with dots between; empty: the outermost
  size_t tensors = 0;
  uint64_t bytes = 0;
};

// One of them in a pickle.
struct PickledTensorDict {
  TensorDict facts;
  bool of_optimizer = false;  // within a dict of that name, or behind a key that is a number
  uint32_t value = 0;
};

// Dicts that are reached through dicts, outer ones first; each once, under its first key. Limits:
// 65,536 dicts, 16 levels, 512 bytes of keys; what is deeper is not found.
// Precondition: CheckGlobals (pytorch_globals.h) is OK.
absl::StatusOr<std::vector<PickledTensorDict>> FindTensorDicts(const PickleContents& pickle);

// The index of the dict with that key; without a key, of that with the most bytes of tensors, of
// several the first. An optimizer's count only where there are no others: it keeps two tensors for
// each of the model's, which may well be more than all of the model in any one dict of that. An
// error lists the keys, or says what the file holds instead.
absl::StatusOr<size_t> ChooseTensorDict(const PickleContents& pickle,
                                        const std::vector<PickledTensorDict>& dicts,
                                        const std::string& key);

// A key as text: a string, or a number in decimal digits.
std::string PickledKeyText(const PickleValue& key);

}  // namespace peerage
