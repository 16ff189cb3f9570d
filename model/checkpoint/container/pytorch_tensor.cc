#include "model/checkpoint/container/pytorch_tensor.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr absl::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr absl::string_view kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr size_t kMaxTorchDimensions = 64;  // torch's own limit
constexpr uint64_t kMaxRepeatedBytes = uint64_t{1} << 30;

absl::Status Odd(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("its ", what, " is not as torch.save writes it"));
}

// The arguments of a call of that function (and of those whose names go on, as the parameter's
// with a state); nullptr when the value is no such call.
const std::vector<uint32_t>* ArgumentsOf(const PickleContents& pickle, uint32_t value,
                                         absl::string_view function) {
  const PickleValue& call = pickle.values[value];
  if (call.kind != PickleKind::kCall || call.makes_object) return nullptr;
  if (!absl::StartsWith(pickle.values[call.callee].text, function)) return nullptr;
  return &pickle.values[call.arguments].items;
}

// The tensor within a parameter, or the value itself.
uint32_t Unwrap(const PickleContents& pickle, uint32_t value) {
  const std::vector<uint32_t>* arguments = ArgumentsOf(pickle, value, kRebuildParameter);
  return arguments == nullptr || arguments->empty() ? value : arguments->front();
}

absl::StatusOr<int64_t> Count(const PickleContents& pickle, uint32_t value,
                              absl::string_view what) {
  const PickleValue& number = pickle.values[value];
  if (number.kind != PickleKind::kInteger || number.integer < 0) return Odd(what);
  return number.integer;
}

absl::StatusOr<std::vector<int64_t>> Counts(const PickleContents& pickle, uint32_t value,
                                            absl::string_view what) {
  const PickleValue& tuple = pickle.values[value];
  if (tuple.kind != PickleKind::kTuple || tuple.items.size() > kMaxTorchDimensions)
    return Odd(what);
  std::vector<int64_t> counts;
  for (const uint32_t item : tuple.items) {
    ASSIGN_OR_RETURN(const int64_t count, Count(pickle, item, what));
    counts.push_back(count);
  }
  return counts;
}

// ("storage", its class, its key, the device, the number of its elements)
absl::Status ReadStorage(const PickleContents& pickle, uint32_t value, PickledTensor& tensor) {
  const PickleValue& persistent = pickle.values[value];
  if (persistent.kind != PickleKind::kPersistent) return Odd("storage");
  const PickleValue& id = pickle.values[persistent.items.front()];
  if (id.kind != PickleKind::kTuple || id.items.size() != 5) return Odd("storage");
  const PickleValue& word = pickle.values[id.items[0]];
  const PickleValue& type = pickle.values[id.items[1]];
  const PickleValue& key = pickle.values[id.items[2]];
  if (word.kind != PickleKind::kString || word.text != "storage" ||
      type.kind != PickleKind::kGlobal || key.kind != PickleKind::kString) {
    return Odd("storage");
  }
  tensor.dtype = FindStorageDtype(type.text);
  if (tensor.dtype == nullptr) return Odd("storage");
  tensor.storage = key.text;
  ASSIGN_OR_RETURN(tensor.storage_elements, Count(pickle, id.items[4], "storage"));
  return absl::OkStatus();
}

absl::Status CheckExtent(PickledTensor& tensor) {
  const absl::Status overflow = absl::InvalidArgumentError("its shape overflows");
  if (tensor.shape.size() != tensor.strides.size()) return Odd("shape");
  // Sizes as if no dimension were zero, so that no part of a shape overflows.
  int64_t bytes = tensor.dtype->bytes, last = tensor.offset;
  bool empty = false;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    int64_t reach = 0;
    const int64_t length = std::max<int64_t>(tensor.shape[i], 1);
    empty |= tensor.shape[i] == 0;
    if (__builtin_mul_overflow(bytes, length, &bytes) ||
        __builtin_mul_overflow(tensor.strides[i], length - 1, &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return overflow;
    }
  }
  tensor.bytes = empty ? 0 : bytes;
  if (empty) return absl::OkStatus();
  if (last >= tensor.storage_elements) {
    return absl::InvalidArgumentError(absl::StrCat("its last element is at ", last,
                                                   " of a storage of ", tensor.storage_elements));
  }
  // The storage's size in bytes is checked against the archive's.
  if (tensor.bytes / tensor.dtype->bytes > static_cast<uint64_t>(tensor.storage_elements) &&
      tensor.bytes > kMaxRepeatedBytes) {
    return absl::InvalidArgumentError(absl::StrCat("it repeats ", tensor.storage_elements,
                                                   " elements to ", tensor.bytes, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

bool PickledTensor::IsRowMajor() const {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

bool IsTensor(const PickleContents& pickle, uint32_t value) {
  return ArgumentsOf(pickle, Unwrap(pickle, value), kRebuildTensor) != nullptr;
}

absl::StatusOr<PickledTensor> ReadPickledTensor(const PickleContents& pickle, uint32_t value) {
  // (storage, offset, shape, strides, whether it needs gradients, hooks, metadata where there is)
  const std::vector<uint32_t>& arguments =
      *ArgumentsOf(pickle, Unwrap(pickle, value), kRebuildTensor);
  if (arguments.size() != 6 && arguments.size() != 7) return Odd("description");
  PickledTensor tensor;
  RETURN_IF_ERROR(ReadStorage(pickle, arguments[0], tensor));
  ASSIGN_OR_RETURN(tensor.offset, Count(pickle, arguments[1], "offset"));
  ASSIGN_OR_RETURN(tensor.shape, Counts(pickle, arguments[2], "shape"));
  ASSIGN_OR_RETURN(tensor.strides, Counts(pickle, arguments[3], "strides"));
  RETURN_IF_ERROR(CheckExtent(tensor));
  return tensor;
}

}  // namespace peerage
