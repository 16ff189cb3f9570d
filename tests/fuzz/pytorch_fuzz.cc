#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "model/checkpoint/container/pytorch.h"
#include "tests/support/memory_file.h"

// Whatever the reader accepts lies inside the file: each tensor can be read, its beginning and its
// end alone too, and these are the same bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  constexpr uint64_t kMostBytes = 1 << 12;  // of one tensor, which may repeat what the file has
  const peerage::MemoryFile file(std::string(bytes, bytes + size));
  const auto contents = peerage::ReadPytorch(file);
  if (!contents.ok()) return 0;
  for (const peerage::StoredTensor& tensor : contents->tensors) {
    const peerage::RandomAccessFile& of =
        tensor.file == 0 ? static_cast<const peerage::RandomAccessFile&>(file)
                         : *contents->views.at(static_cast<size_t>(tensor.file) - 1);
    std::vector<uint8_t> begin(std::min(tensor.bytes, kMostBytes)), end(begin.size() / 2);
    if (!of.Read(tensor.offset, absl::MakeSpan(begin)).ok()) std::abort();
    const uint64_t end_offset = tensor.offset + begin.size() - end.size();
    if (!of.Read(end_offset, absl::MakeSpan(end)).ok()) std::abort();
    if (!std::equal(end.rbegin(), end.rend(), begin.rbegin())) std::abort();
    if (!of.Read(tensor.offset + tensor.bytes - end.size(), absl::MakeSpan(end)).ok()) std::abort();
  }
  return 0;
}
