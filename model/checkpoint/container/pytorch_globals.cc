#include "model/checkpoint/container/pytorch_globals.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

// In the order of how often they occur.
constexpr StorageDtype kStorageDtypes[] = {
    {"torch.FloatStorage", "F32", 4, TensorType::kF32},
    {"torch.BFloat16Storage", "BF16", 2, TensorType::kBF16},
    {"torch.HalfStorage", "F16", 2, TensorType::kF16},
    {"torch.DoubleStorage", "F64", 8, {}},
    {"torch.LongStorage", "I64", 8, {}},
    {"torch.IntStorage", "I32", 4, {}},
    {"torch.ShortStorage", "I16", 2, {}},
    {"torch.CharStorage", "I8", 1, {}},
    {"torch.ByteStorage", "U8", 1, {}},
    {"torch.BoolStorage", "BOOL", 1, {}},
    {"torch.ComplexFloatStorage", "C64", 8, {}},
    {"torch.ComplexDoubleStorage", "C128", 16, {}},
};

constexpr absl::string_view kDictCalls[] = {"collections.OrderedDict", "collections.defaultdict",
                                            "collections.Counter"};

constexpr absl::string_view kTensorCalls[] = {"torch._utils._rebuild_tensor_v2",
                                              "torch._utils._rebuild_parameter",
                                              "torch._utils._rebuild_parameter_with_state"};

constexpr absl::string_view kSkippedCalls[] = {
    "torch.Size",
    "torch.device",
    "argparse.Namespace",
    "__builtin__.set",  // as protocol 2 calls it
    "builtins.set",
    "__builtin__.frozenset",
    "builtins.frozenset",
    "__builtin__.bytearray",
    "builtins.bytearray",
    "__builtin__.complex",
    "builtins.complex",
    "_codecs.encode",  // protocol 2 writes bytes as text
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
};

// May stand where a value does, as types that are named and no more.
constexpr absl::string_view kPlainGlobals[] = {
    "numpy.ndarray",
    "__builtin__.list",
    "builtins.list",
    "__builtin__.dict",
    "builtins.dict",
    "__builtin__.int",
    "builtins.int",
    "__builtin__.float",
    "builtins.float",
    "__builtin__.set",
    "builtins.set",
    "torch.float32",
    "torch.float64",
    "torch.float16",
    "torch.bfloat16",
    "torch.int64",
    "torch.int32",
    "torch.int16",
    "torch.int8",
    "torch.uint8",
    "torch.uint16",
    "torch.uint32",
    "torch.uint64",
    "torch.bool",
    "torch.complex64",
    "torch.complex128",
    "torch.complex32",
    "torch.float8_e4m3fn",
    "torch.float8_e5m2",
    "torch.float8_e4m3fnuz",
    "torch.float8_e5m2fnuz",
};

template <typename List>
bool Contains(const List& list, absl::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool MayBeCalled(absl::string_view name) {
  return Contains(kTensorCalls, name) || Contains(kDictCalls, name) ||
         Contains(kSkippedCalls, name);
}

absl::Status Refuse(const PickleValue& global) {
  return absl::InvalidArgumentError(
      absl::StrCat("pickle byte ", global.offset, ": ", Quoted(global.text),
                   " is more than tensors and plain values, and nothing of a file is executed"));
}

absl::Status CheckUses(const PickleContents& pickle, const std::vector<uint32_t>& values) {
  for (const uint32_t index : values) {
    const PickleValue& value = pickle.values[index];
    if (value.kind == PickleKind::kGlobal && !Contains(kPlainGlobals, value.text) &&
        FindStorageDtype(value.text) == nullptr) {
      return Refuse(value);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckCall(const PickleContents& pickle, const PickleValue& call) {
  const PickleValue& callee = pickle.values[call.callee];
  const bool bare_object = call.makes_object && pickle.values[call.arguments].items.empty();
  if (bare_object || MayBeCalled(callee.text)) return absl::OkStatus();
  return Refuse(callee);
}

}  // namespace

const StorageDtype* FindStorageDtype(absl::string_view global) {
  const auto* found =
      std::find_if(std::begin(kStorageDtypes), std::end(kStorageDtypes),
                   [&](const StorageDtype& dtype) { return dtype.global == global; });
  return found == std::end(kStorageDtypes) ? nullptr : found;
}

bool MakesDict(absl::string_view global) { return Contains(kDictCalls, global); }

absl::Status CheckGlobals(const PickleContents& pickle) {
  for (const PickleValue& value : pickle.values) {
    RETURN_IF_ERROR(CheckUses(pickle, value.items));
    RETURN_IF_ERROR(CheckUses(pickle, value.states));
    if (value.kind == PickleKind::kCall) RETURN_IF_ERROR(CheckCall(pickle, value));
  }
  return absl::OkStatus();
}

}  // namespace peerage
