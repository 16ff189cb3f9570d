// A config.json, a zero byte, and a .safetensors file: whatever is accepted can be read, whole and
// by rows, in the shapes that the layout promises.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/safetensors.h"
#include "model/checkpoint/layout/tensor_reading.h"
#include "tests/support/memory_file.h"

namespace {

void ReadBothWays(const peerage::WeightFiles& files, const peerage::BoundTensor& tensor) {
  std::vector<uint8_t> whole(tensor.info.bytes);
  const absl::Status read = peerage::ReadTensor(files, tensor, absl::MakeSpan(whole));
  if (!read.ok()) {
    if (read.message().empty()) std::abort();
    return;
  }
  const int64_t rows = tensor.info.shape.front();
  if (whole.size() % rows != 0) std::abort();
  std::vector<uint8_t> last(whole.size() / rows);
  if (!peerage::ReadTensorRows(files, tensor, rows - 1, absl::MakeSpan(last)).ok()) std::abort();
  if (!std::equal(last.begin(), last.end(), whole.end() - last.size())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(bytes), size);
  const size_t end = input.find('\0');
  if (end == absl::string_view::npos) return 0;
  const auto config = peerage::ParseModelConfig(input.substr(0, end));
  if (!config.ok()) return 0;
  peerage::WeightFiles files;
  files.push_back(std::make_unique<peerage::MemoryFile>(std::string(input.substr(end + 1))));
  auto contents = peerage::ReadSafetensors(*files[0]);
  if (!contents.ok()) return 0;
  const auto binding =
      peerage::BindTensors(*config, peerage::TensorNaming::kPeerage, std::move(contents->tensors));
  if (!binding.ok()) return 0;
  for (const peerage::BoundTensor& tensor : binding->tensors) ReadBothWays(files, tensor);
  return 0;
}
