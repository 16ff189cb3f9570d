#include "model/checkpoint/container/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/little_endian.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/container/file_format.h"

namespace peerage {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;  // the header's length, before the header
constexpr size_t kMaxNameBytes = 512;
constexpr size_t kMaxMetadataBytes = size_t{1} << 20;
// Header, tensor, shape: three levels, and one of grace for a clearer message than "too deep".
constexpr int kMaxDepth = 4;
constexpr size_t kMaxValuesPerTensor = 16;

struct Dtype {
  absl::string_view name;
  int bits;
  std::optional<TensorType> type;
};

constexpr std::array<Dtype, 21> kDtypes = {{
    {"F32", 32, TensorType::kF32},
    {"F16", 16, TensorType::kF16},
    {"BF16", 16, TensorType::kBF16},
    {"BOOL", 8, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"U8", 8, {}},
    {"I8", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E8M0", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"I32", 32, {}},
    {"U32", 32, {}},
    {"F64", 64, {}},
    {"I64", 64, {}},
    {"U64", 64, {}},
}};

absl::StatusOr<Dtype> ReadDtype(const json& entry) {
  const auto found = entry.find("dtype");
  if (found == entry.end() || !found->is_string()) {
    return absl::InvalidArgumentError("dtype is not a string");
  }
  const std::string& name = found->get_ref<const std::string&>();
  for (const Dtype& dtype : kDtypes) {
    if (dtype.name == name) return dtype;
  }
  return absl::InvalidArgumentError(absl::StrCat("dtype ", Quoted(name), " is unknown"));
}

// A list of plain decimal integers: 1.0, 1e3 and -0 are other kinds of JSON number.
absl::StatusOr<std::vector<uint64_t>> ReadIntegers(const json& entry, const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(key, " is not a list"));
  }
  std::vector<uint64_t> integers;
  for (const json& value : *found) {
    if (!value.is_number_unsigned()) {
      return absl::InvalidArgumentError(absl::StrCat(key, " holds more than plain integers"));
    }
    integers.push_back(value.get<uint64_t>());
  }
  return integers;
}

absl::StatusOr<std::vector<int64_t>> ReadShape(const json& entry) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> dimensions, ReadIntegers(entry, "shape"));
  for (const uint64_t dimension : dimensions) {
    if (dimension > std::numeric_limits<int64_t>::max()) {
      return absl::InvalidArgumentError("shape overflows");
    }
  }
  return std::vector<int64_t>(dimensions.begin(), dimensions.end());
}

absl::StatusOr<uint64_t> BytesOf(const std::vector<int64_t>& shape, const Dtype& dtype) {
  uint64_t bits = static_cast<uint64_t>(dtype.bits);
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(dimension), &bits)) {
      return absl::InvalidArgumentError("shape overflows");
    }
  }
  if (bits % 8 != 0) return absl::InvalidArgumentError("shape does not fill whole bytes");
  return bits / 8;
}

// `offset` is relative to the data until PlaceTensors has run.
absl::StatusOr<StoredTensor> ReadTensor(const std::string& name, const json& entry) {
  if (name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("name longer than ", kMaxNameBytes, " bytes"));
  }
  if (!entry.is_object() || entry.size() != 3) {
    return absl::InvalidArgumentError("not an object of dtype, shape and data_offsets");
  }
  ASSIGN_OR_RETURN(const Dtype dtype, ReadDtype(entry));
  ASSIGN_OR_RETURN(std::vector<int64_t> shape, ReadShape(entry));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> offsets, ReadIntegers(entry, "data_offsets"));
  ASSIGN_OR_RETURN(const uint64_t bytes, BytesOf(shape, dtype));
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    return absl::InvalidArgumentError("data_offsets is not [begin, end]");
  }
  if (offsets[1] - offsets[0] != bytes) {
    return absl::InvalidArgumentError(absl::StrCat("data_offsets span ", offsets[1] - offsets[0],
                                                   " bytes, dtype and shape ask for ", bytes));
  }
  return StoredTensor{.name = name,
                      .dtype = std::string(dtype.name),
                      .type = dtype.type,
                      .shape = std::move(shape),
                      .offset = offsets[0],
                      .bytes = bytes};
}

absl::StatusOr<std::map<std::string, std::string>> ReadMetadata(const json& entry) {
  if (!entry.is_object()) return absl::InvalidArgumentError("not an object");
  std::map<std::string, std::string> metadata;
  size_t bytes = 0;
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(Quoted(key), " is not a string"));
    }
    metadata[key] = value.get<std::string>();
    bytes += key.size() + metadata[key].size();
  }
  if (bytes > kMaxMetadataBytes) {
    return absl::InvalidArgumentError(absl::StrCat("longer than ", kMaxMetadataBytes, " bytes"));
  }
  return metadata;
}

// No hole, no overlap, nothing after the last tensor. Returns them in order, their offsets
// absolute.
absl::StatusOr<std::vector<StoredTensor>> PlaceTensors(std::vector<StoredTensor> tensors,
                                                       uint64_t data_begin, uint64_t file_size) {
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  const uint64_t data_bytes = file_size - data_begin;
  uint64_t covered = 0;
  for (StoredTensor& tensor : tensors) {
    if (tensor.offset != covered) {
      const absl::string_view fault = tensor.offset > covered ? "a hole before it" : "an overlap";
      return At(absl::StrCat("tensor ", Quoted(tensor.name)), absl::InvalidArgumentError(fault));
    }
    if (tensor.bytes > data_bytes - covered) {
      return At(absl::StrCat("tensor ", Quoted(tensor.name)),
                absl::InvalidArgumentError("its data lie beyond the end of the file"));
    }
    covered += tensor.bytes;
    tensor.offset += data_begin;
  }
  if (covered == data_bytes) return tensors;
  return absl::InvalidArgumentError(
      absl::StrCat(data_bytes - covered, " bytes after the last tensor"));
}

absl::StatusOr<std::string> ReadHeader(const RandomAccessFile& file, uint64_t max_header_bytes) {
  if (file.size() < kLengthBytes) return absl::InvalidArgumentError("shorter than 8 bytes");
  std::array<uint8_t, kLengthBytes> length_bytes;
  RETURN_IF_ERROR(file.Read(0, absl::MakeSpan(length_bytes)));
  const uint64_t length = LoadLittleEndian<uint64_t>(length_bytes.data());
  if (length > max_header_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("no safetensors file (nor any other that is known): header of ", length,
                     " bytes; at most ", max_header_bytes, " are read"));
  }
  if (length > file.size() - kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("header of ", length, " bytes in a file of ", file.size()));
  }
  std::string header(length, '\0');
  RETURN_IF_ERROR(file.Read(
      kLengthBytes, absl::MakeSpan(reinterpret_cast<uint8_t*>(header.data()), header.size())));
  return header;
}

absl::StatusOr<SafetensorsContents> ReadContents(const RandomAccessFile& file,
                                                 const SafetensorsLimits& limits) {
  RETURN_IF_ERROR(CheckFormat(file, FileFormat::kSafetensors));
  ASSIGN_OR_RETURN(const std::string text, ReadHeader(file, limits.max_header_bytes));
  ASSIGN_OR_RETURN(const json header,
                   ParseStrictJson(text, {.max_depth = kMaxDepth,
                                          .max_values = limits.max_tensors * kMaxValuesPerTensor}));
  if (!header.is_object()) return absl::InvalidArgumentError("header is not a JSON object");
  if (header.size() > limits.max_tensors) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", limits.max_tensors, " tensors"));
  }
  SafetensorsContents contents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      ASSIGN_OR_RETURN(contents.metadata, At(name, ReadMetadata(entry)));
      continue;
    }
    ASSIGN_OR_RETURN(StoredTensor tensor,
                     At(absl::StrCat("tensor ", Quoted(name)), ReadTensor(name, entry)));
    contents.tensors.push_back(std::move(tensor));
  }
  ASSIGN_OR_RETURN(contents.tensors, PlaceTensors(std::move(contents.tensors),
                                                  kLengthBytes + text.size(), file.size()));
  return contents;
}

}  // namespace

absl::StatusOr<SafetensorsContents> ReadSafetensors(const RandomAccessFile& file,
                                                    const SafetensorsLimits& limits) {
  return At(file.path(), ReadContents(file, limits));
}

}  // namespace peerage
