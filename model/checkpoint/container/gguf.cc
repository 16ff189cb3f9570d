#include "model/checkpoint/container/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/file_format.h"
#include "model/checkpoint/container/gguf_format.h"
#include "model/checkpoint/container/gguf_scanner.h"

namespace peerage {
namespace {

constexpr uint64_t kMaxCount = 65'536;  // of keys, of tensors
constexpr uint64_t kMaxStringBytes = 1 << 20;
constexpr uint64_t kMaxArrayElements = 4 << 20;
constexpr uint64_t kMaxBytesBeforeData = 256 << 20;
constexpr uint64_t kMaxTensorNameBytes = 63;
constexpr uint32_t kMaxDimensions = 4;
constexpr absl::string_view kAlignmentKey = "general.alignment";

absl::StatusOr<GgufType> ReadType(GgufScanner& scanner) {
  ASSIGN_OR_RETURN(const uint32_t type, scanner.Integer<uint32_t>());
  if (type > static_cast<uint32_t>(GgufType::kFloat64)) {
    return absl::InvalidArgumentError(absl::StrCat("value type ", type, " is unknown"));
  }
  return static_cast<GgufType>(type);
}

absl::StatusOr<GgufValue> ReadScalar(GgufScanner& scanner, GgufType type) {
  std::array<uint8_t, 8> bytes;
  RETURN_IF_ERROR(scanner.Bytes(absl::MakeSpan(bytes).subspan(0, ScalarBytes(type))));
  return DecodeScalar(type, bytes.data());
}

absl::StatusOr<GgufValue> ReadArray(GgufScanner& scanner) {
  ASSIGN_OR_RETURN(const GgufType type, ReadType(scanner));
  if (type == GgufType::kArray) return absl::InvalidArgumentError("array of arrays");
  ASSIGN_OR_RETURN(const uint64_t count, scanner.Integer<uint64_t>());
  constexpr int kLengthBytes = 8;  // what an empty string takes
  const uint64_t width = type == GgufType::kString ? kLengthBytes : ScalarBytes(type);
  if (count > kMaxArrayElements || count > scanner.remaining() / width) {
    return absl::InvalidArgumentError(
        absl::StrCat("array of ", count, " elements; at most ",
                     std::min(kMaxArrayElements, scanner.remaining() / width), " here"));
  }
  if (type != GgufType::kString) {
    GgufNumbers numbers{type, std::vector<uint8_t>(count * width)};
    RETURN_IF_ERROR(scanner.Bytes(absl::MakeSpan(numbers.bytes)));
    return GgufValue{GgufType::kArray, std::move(numbers)};
  }
  std::vector<std::string> strings;
  strings.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(std::string text, scanner.String(kMaxStringBytes));
    strings.push_back(std::move(text));
  }
  return GgufValue{GgufType::kArray, std::move(strings)};
}

absl::StatusOr<GgufValue> ReadValue(GgufScanner& scanner) {
  ASSIGN_OR_RETURN(const GgufType type, ReadType(scanner));
  if (type == GgufType::kArray) return ReadArray(scanner);
  if (type != GgufType::kString) return ReadScalar(scanner, type);
  ASSIGN_OR_RETURN(std::string text, scanner.String(kMaxStringBytes));
  return GgufValue{type, std::move(text)};
}

absl::StatusOr<GgufMetadata> ReadMetadata(GgufScanner& scanner, uint64_t count) {
  GgufMetadata metadata;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::string key,
                     At(absl::StrCat("key ", i), scanner.String(kMaxStringBytes)));
    if (key.empty()) return absl::InvalidArgumentError(absl::StrCat("key ", i, " is empty"));
    ASSIGN_OR_RETURN(GgufValue value, At(Quoted(key), ReadValue(scanner)));
    if (!metadata.Insert(key, std::move(value))) {
      return absl::InvalidArgumentError(absl::StrCat("key ", Quoted(key), " is there twice"));
    }
  }
  return metadata;
}

absl::StatusOr<uint64_t> ReadAlignment(const GgufMetadata& metadata) {
  const GgufValue* found = metadata.Find(kAlignmentKey);
  if (found == nullptr) return kGgufDefaultAlignment;
  if (found->type != GgufType::kUint32) {
    return absl::InvalidArgumentError(
        absl::StrCat(kAlignmentKey, " is of type ", Name(found->type), ", not uint32"));
  }
  const uint64_t alignment = std::get<uint64_t>(found->value);
  if (!std::has_single_bit(alignment)) {
    return absl::InvalidArgumentError(
        absl::StrCat(kAlignmentKey, " is ", alignment, ", not a power of two"));
  }
  return alignment;
}

// How a tensor's elements lie in the file.
struct StoredBlocks {
  absl::string_view name;
  std::optional<TensorType> type;  // nullopt: nothing here reads it
  int elements;
  int bytes;
};

absl::StatusOr<StoredBlocks> ReadDtype(GgufScanner& scanner) {
  ASSIGN_OR_RETURN(const uint32_t id, scanner.Integer<uint32_t>());
  for (const GgufDtype& dtype : kGgufDtypes) {
    const TensorTypeTraits traits = Traits(dtype.type);
    if (dtype.id != id) continue;
    return StoredBlocks{dtype.name, dtype.type, traits.block_elements, traits.block_bytes};
  }
  for (const GgufForeignDtype& dtype : kGgufForeignDtypes) {
    if (dtype.id != id) continue;
    return StoredBlocks{dtype.name, std::nullopt, dtype.block_elements, dtype.block_bytes};
  }
  return absl::InvalidArgumentError(absl::StrCat("tensor type ", id, " is unknown"));
}

// The file has the contiguous dimension first.
absl::StatusOr<std::vector<int64_t>> ReadShape(GgufScanner& scanner) {
  ASSIGN_OR_RETURN(const uint32_t rank, scanner.Integer<uint32_t>());
  if (rank > kMaxDimensions) {
    return absl::InvalidArgumentError(absl::StrCat(rank, " dimensions; at most 4"));
  }
  std::vector<int64_t> shape(rank);
  int64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    ASSIGN_OR_RETURN(const uint64_t dimension, scanner.Integer<uint64_t>());
    if (dimension > std::numeric_limits<int64_t>::max() ||
        __builtin_mul_overflow(elements, static_cast<int64_t>(dimension), &elements)) {
      return absl::InvalidArgumentError("shape overflows");
    }
    shape[rank - 1 - i] = static_cast<int64_t>(dimension);
  }
  return shape;
}

absl::StatusOr<uint64_t> BytesOf(const std::vector<int64_t>& shape, const StoredBlocks& blocks) {
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % blocks.elements != 0) {
    return absl::InvalidArgumentError(absl::StrCat("rows of ", row, " elements in ", blocks.name,
                                                   " blocks of ", blocks.elements));
  }
  uint64_t bytes = static_cast<uint64_t>(row / blocks.elements);
  bool overflows = __builtin_mul_overflow(bytes, uint64_t(blocks.bytes), &bytes);
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    overflows |= __builtin_mul_overflow(bytes, static_cast<uint64_t>(shape[i]), &bytes);
  }
  if (overflows) return absl::InvalidArgumentError("size overflows");
  return bytes;
}

// Everything after the name; `offset` is relative to the data until PlaceTensors has run.
absl::StatusOr<StoredTensor> ReadTensor(GgufScanner& scanner, const std::string& name) {
  ASSIGN_OR_RETURN(std::vector<int64_t> shape, ReadShape(scanner));
  ASSIGN_OR_RETURN(const StoredBlocks blocks, ReadDtype(scanner));
  ASSIGN_OR_RETURN(const uint64_t bytes, BytesOf(shape, blocks));
  ASSIGN_OR_RETURN(const uint64_t offset, scanner.Integer<uint64_t>());
  return StoredTensor{.name = name,
                      .dtype = std::string(blocks.name),
                      .type = blocks.type,
                      .shape = std::move(shape),
                      .offset = offset,
                      .bytes = bytes};
}

absl::StatusOr<std::vector<StoredTensor>> ReadTensors(GgufScanner& scanner, uint64_t count) {
  std::vector<StoredTensor> tensors;
  absl::flat_hash_set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::string name,
                     At(absl::StrCat("name of tensor ", i), scanner.String(kMaxTensorNameBytes)));
    const std::string place = absl::StrCat("tensor ", Quoted(name));
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat(place, " is there twice"));
    }
    ASSIGN_OR_RETURN(StoredTensor tensor, At(place, ReadTensor(scanner, name)));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

absl::StatusOr<uint64_t> RoundUp(uint64_t value, uint64_t alignment) {
  uint64_t rounded = 0;
  if (__builtin_add_overflow(value, alignment - 1, &rounded)) {
    return absl::InvalidArgumentError("size overflows");
  }
  return rounded & ~(alignment - 1);
}

// Each tensor begins where the one before it, padded, ends. Returns them with absolute offsets.
absl::StatusOr<std::vector<StoredTensor>> PlaceTensors(std::vector<StoredTensor> tensors,
                                                       uint64_t data_begin, uint64_t alignment,
                                                       uint64_t file_size) {
  uint64_t next = data_begin;
  for (StoredTensor& tensor : tensors) {
    const std::string place = absl::StrCat("tensor ", Quoted(tensor.name));
    if (tensor.offset != next - data_begin) {
      return At(place, absl::InvalidArgumentError(
                           absl::StrCat("offset ", tensor.offset, ", not ", next - data_begin)));
    }
    if (next > file_size || tensor.bytes > file_size - next) {
      return At(place, absl::InvalidArgumentError("its data lie beyond the end of the file"));
    }
    tensor.offset = next;
    ASSIGN_OR_RETURN(next, At(place, RoundUp(next + tensor.bytes, alignment)));
  }
  return tensors;
}

absl::Status CheckVersion(uint32_t version) {
  if (version == 2 || version == 3) return absl::OkStatus();
  const bool swapped = version != 0 && (version & 0xffff) == 0;
  return absl::InvalidArgumentError(absl::StrCat(
      "GGUF version ", version, swapped ? " (big endian)" : "", "; versions 2 and 3 are read"));
}

absl::StatusOr<uint64_t> ReadCount(GgufScanner& scanner, absl::string_view what) {
  ASSIGN_OR_RETURN(const uint64_t count, scanner.Integer<uint64_t>());
  if (count <= kMaxCount) return count;
  return absl::InvalidArgumentError(absl::StrCat(count, " ", what, "; at most ", kMaxCount));
}

absl::StatusOr<GgufContents> ReadContents(const RandomAccessFile& file) {
  RETURN_IF_ERROR(CheckFormat(file, FileFormat::kGguf));
  GgufScanner scanner(file, std::min(file.size(), kMaxBytesBeforeData));
  ASSIGN_OR_RETURN(const uint32_t magic, scanner.Integer<uint32_t>());
  if (magic != kGgufMagic) return absl::InvalidArgumentError("does not begin with GGUF");
  ASSIGN_OR_RETURN(const uint32_t version, scanner.Integer<uint32_t>());
  RETURN_IF_ERROR(CheckVersion(version));
  ASSIGN_OR_RETURN(const uint64_t num_tensors, ReadCount(scanner, "tensors"));
  ASSIGN_OR_RETURN(const uint64_t num_keys, ReadCount(scanner, "keys"));
  GgufContents contents;
  ASSIGN_OR_RETURN(contents.metadata, ReadMetadata(scanner, num_keys));
  ASSIGN_OR_RETURN(const uint64_t alignment, ReadAlignment(contents.metadata));
  ASSIGN_OR_RETURN(std::vector<StoredTensor> tensors, ReadTensors(scanner, num_tensors));
  ASSIGN_OR_RETURN(const uint64_t data_begin, RoundUp(scanner.position(), alignment));
  ASSIGN_OR_RETURN(contents.tensors,
                   PlaceTensors(std::move(tensors), data_begin, alignment, file.size()));
  return contents;
}

}  // namespace

absl::StatusOr<GgufContents> ReadGguf(const RandomAccessFile& file) {
  return At(file.path(), ReadContents(file));
}

}  // namespace peerage
