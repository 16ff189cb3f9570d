#include <cstdint>
#include <cstdlib>
#include <string>

#include "model/checkpoint/container/safetensors.h"
#include "tests/support/memory_file.h"

// Whatever the reader accepts must cover the data exactly, tensor after tensor.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const peerage::MemoryFile file(std::string(bytes, bytes + size));
  const auto contents = peerage::ReadSafetensors(file);
  if (!contents.ok()) return 0;
  uint64_t end = size;
  for (auto tensor = contents->tensors.rbegin(); tensor != contents->tensors.rend(); ++tensor) {
    if (tensor->offset + tensor->bytes != end) std::abort();
    end = tensor->offset;
  }
  return 0;
}
