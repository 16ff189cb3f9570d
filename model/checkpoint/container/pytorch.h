#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/stored_tensor.h"
#include "model/checkpoint/container/tensor_dicts.h"

namespace peerage {

// Which of a file's dicts the tensors are.
struct TensorDictChoice {
  TensorDict chosen;
  std::vector<TensorDict> others;    // in their order
  std::vector<std::string> skipped;  // keys of the chosen dict whose values are no tensors
};

// What one file of torch.save holds.
struct PytorchContents {
  TensorDictChoice choice;
  // Of the chosen dict, in its order. `file` is 0 where the bytes are the file's own, and 1 + i of
  // views[i]. Tensors that are one and the same in memory are the same bytes of the same file.
  std::vector<StoredTensor> tensors;
  // Tensors whose elements lie in another order than row by row, least significant byte first.
  std::vector<std::unique_ptr<RandomAccessFile>> views;
};

// Reads a .pt, .pth or .bin file, a zip archive as torch.save writes it since PyTorch 1.6, of
// either byte order. `key` chooses the dict (ChooseTensorDict). Nothing of the file is executed:
// globals are a closed list (pytorch_globals.h) and any other is an error that names it and where
// it is. An error names the file and the tensor. Precondition: the file outlives the views. Limits:
// 256 MiB of pickle (pickle.h), 65,536 tensors.
absl::StatusOr<PytorchContents> ReadPytorch(const RandomAccessFile& file,
                                            const std::string& key = "");

// An error where the file is something else, with the way out where there is one.
absl::Status CheckPytorchFormat(const RandomAccessFile& file);

}  // namespace peerage
