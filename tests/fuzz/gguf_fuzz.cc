#include <cstdint>
#include <cstdlib>
#include <string>

#include "model/checkpoint/config/gguf_config.h"
#include "model/checkpoint/config/gguf_tokenizer_keys.h"
#include "model/checkpoint/container/gguf.h"
#include "model/checkpoint/layout/tensor_binding.h"
#include "tests/support/memory_file.h"

// Whatever the reader accepts lies inside the file, and the config, tokenizer and binding made of
// it may refuse it but not fail.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const peerage::MemoryFile file(std::string(bytes, bytes + size));
  auto contents = peerage::ReadGguf(file);
  if (!contents.ok()) return 0;
  for (const peerage::StoredTensor& tensor : contents->tensors) {
    if (tensor.offset > size || tensor.bytes > size - tensor.offset) std::abort();
  }
  const auto config = peerage::ParseGgufConfig(*contents);
  if (!config.ok()) return 0;
  (void)peerage::ReadGgufTokenizer(contents->metadata, config->vocab_size);
  (void)peerage::BindTensors(*config, peerage::TensorNaming::kGguf, std::move(contents->tensors));
  return 0;
}
