// Any file is a model whose every tensor can be read, or an error that says why.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/checkpoint/checkpoint.h"

namespace {

void ReadEverything(const peerage::Checkpoint& checkpoint) {
  std::vector<uint8_t> bytes;
  for (const peerage::TensorInfo& tensor : checkpoint.tensors()) {
    bytes.resize(tensor.bytes);
    if (!checkpoint.Read(tensor, absl::MakeSpan(bytes)).ok()) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const std::string path =
      (std::filesystem::temp_directory_path() / absl::StrCat("peerage-fuzz-", getpid(), ".gguf"))
          .string();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  const auto checkpoint = peerage::OpenCheckpoint(path);
  if (checkpoint.ok()) ReadEverything(**checkpoint);
  if (!checkpoint.ok() && checkpoint.status().message().empty()) __builtin_trap();
  std::filesystem::remove(path);
  return 0;
}
