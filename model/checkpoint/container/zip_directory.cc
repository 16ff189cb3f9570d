#include "model/checkpoint/container/zip_directory.h"

#include <array>
#include <cstddef>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/error_text.h"
#include "base/little_endian.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr uint64_t kLocalHeaderBytes = 30, kDirectoryHeaderBytes = 46;
constexpr uint64_t kEndBytes = 22, kEnd64Bytes = 56, kEnd64LocatorBytes = 20;
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kEncryptedFlag = 1;
constexpr uint32_t kIn64Bits = 0xffffffff;  // the value is in the ZIP64 extra field
constexpr uint64_t kMaxEntries = uint64_t{1} << 20;
constexpr uint64_t kMaxDirectoryBytes = uint64_t{128} << 20;

uint16_t U16(absl::Span<const uint8_t> bytes, size_t at) {
  return LoadLittleEndian<uint16_t>(bytes.data() + at);
}
uint32_t U32(absl::Span<const uint8_t> bytes, size_t at) {
  return LoadLittleEndian<uint32_t>(bytes.data() + at);
}
uint64_t U64(absl::Span<const uint8_t> bytes, size_t at) {
  return LoadLittleEndian<uint64_t>(bytes.data() + at);
}

absl::string_view TextOf(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Where the directory lies.
struct DirectoryPlace {
  uint64_t entries = 0;
  uint64_t begin = 0;
  uint64_t bytes = 0;
  uint64_t end = 0;  // where the records behind it begin
};

// The record that replaces the one at `end` in archives with 64-bit sizes; it begins where the
// locator before `end` says, right before that locator.
absl::StatusOr<DirectoryPlace> ReadEnd64(const RandomAccessFile& file, uint64_t locator_begin,
                                         uint64_t begin) {
  if (begin > locator_begin || locator_begin - begin != kEnd64Bytes) {
    return absl::InvalidArgumentError("the zip archive's ZIP64 record is not before its locator");
  }
  std::array<uint8_t, kEnd64Bytes> record;
  RETURN_IF_ERROR(file.Read(begin, absl::MakeSpan(record)));
  const bool parts = U32(record, 16) != 0 || U32(record, 20) != 0;
  if (U32(record, 0) != kEnd64 || parts || U64(record, 24) != U64(record, 32)) {
    return absl::InvalidArgumentError("the zip archive's ZIP64 record is damaged");
  }
  return DirectoryPlace{
      .entries = U64(record, 32), .begin = U64(record, 48), .bytes = U64(record, 40), .end = begin};
}

absl::StatusOr<DirectoryPlace> FindDirectory(const RandomAccessFile& file) {
  const absl::Status no_end = absl::InvalidArgumentError(
      "a zip archive without its end (cut off, or something stands behind it)");
  if (file.size() < kEndBytes) return no_end;
  const uint64_t end = file.size() - kEndBytes;
  std::array<uint8_t, kEndBytes> record;
  RETURN_IF_ERROR(file.Read(end, absl::MakeSpan(record)));
  if (U32(record, 0) != kEnd || U16(record, 20) != 0) return no_end;
  if (U16(record, 4) != 0 || U16(record, 6) != 0 || U16(record, 8) != U16(record, 10)) {
    return absl::InvalidArgumentError("one part of a zip archive in several");
  }
  if (end >= kEnd64LocatorBytes) {
    std::array<uint8_t, kEnd64LocatorBytes> locator;
    RETURN_IF_ERROR(file.Read(end - kEnd64LocatorBytes, absl::MakeSpan(locator)));
    if (U32(locator, 0) == kEnd64Locator) {
      return ReadEnd64(file, end - kEnd64LocatorBytes, U64(locator, 8));
    }
  }
  return DirectoryPlace{
      .entries = U16(record, 10), .begin = U32(record, 16), .bytes = U32(record, 12), .end = end};
}

absl::Status CheckPlace(const DirectoryPlace& place) {
  if (place.begin > place.end || place.end - place.begin != place.bytes) {
    return absl::InvalidArgumentError("the zip archive's directory is not where its end says");
  }
  if (place.entries > kMaxEntries || place.bytes > kMaxDirectoryBytes ||
      place.entries > place.bytes / kDirectoryHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a zip directory of ", place.entries, " entries in ", place.bytes, " bytes"));
  }
  return absl::OkStatus();
}

// Takes those of the three values that are kIn64Bits from the extra field that holds them.
absl::Status ReadZip64Extra(absl::Span<const uint8_t> extra, std::array<uint64_t*, 3> values) {
  while (extra.size() >= 4) {
    const size_t length = U16(extra, 2);
    if (length > extra.size() - 4) break;
    absl::Span<const uint8_t> field = extra.subspan(4, length);
    const bool is_zip64 = U16(extra, 0) == kZip64Extra;
    extra.remove_prefix(4 + length);
    if (!is_zip64) continue;
    for (uint64_t* value : values) {
      if (*value != kIn64Bits) continue;
      if (field.size() < 8) return absl::InvalidArgumentError("a short ZIP64 field");
      *value = U64(field, 0);
      field.remove_prefix(8);
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("no ZIP64 field");
}

// Takes one entry from the front of the directory.
absl::StatusOr<ZipEntry> ReadEntry(absl::Span<const uint8_t>* directory) {
  const absl::Span<const uint8_t> bytes = *directory;
  if (bytes.size() < kDirectoryHeaderBytes || U32(bytes, 0) != kDirectoryHeader) {
    return absl::InvalidArgumentError("the zip archive's directory is damaged");
  }
  const size_t name = U16(bytes, 28), extra = U16(bytes, 30), comment = U16(bytes, 32);
  if (name + extra + comment > bytes.size() - kDirectoryHeaderBytes) {
    return absl::InvalidArgumentError("the zip archive's directory is damaged");
  }
  ZipEntry entry{.name = std::string(TextOf(bytes.subspan(kDirectoryHeaderBytes, name))),
                 .header = U32(bytes, 42),
                 .bytes = U32(bytes, 20)};
  uint64_t unpacked = U32(bytes, 24);
  if (entry.header == kIn64Bits || entry.bytes == kIn64Bits || unpacked == kIn64Bits) {
    RETURN_IF_ERROR(At(absl::StrCat("zip entry ", Quoted(entry.name)),
                       ReadZip64Extra(bytes.subspan(kDirectoryHeaderBytes + name, extra),
                                      {&unpacked, &entry.bytes, &entry.header})));
  }
  entry.stored =
      U16(bytes, 10) == 0 && (U16(bytes, 8) & kEncryptedFlag) == 0 && unpacked == entry.bytes;
  directory->remove_prefix(kDirectoryHeaderBytes + name + extra + comment);
  return entry;
}

}  // namespace

absl::StatusOr<std::vector<ZipEntry>> ReadZipDirectory(const RandomAccessFile& file) {
  ASSIGN_OR_RETURN(const DirectoryPlace place, FindDirectory(file));
  RETURN_IF_ERROR(CheckPlace(place));
  std::vector<uint8_t> bytes(place.bytes);
  RETURN_IF_ERROR(file.Read(place.begin, absl::MakeSpan(bytes)));
  absl::Span<const uint8_t> directory = bytes;
  std::vector<ZipEntry> entries;
  absl::flat_hash_set<std::string> names;
  for (uint64_t i = 0; i < place.entries; ++i) {
    ASSIGN_OR_RETURN(ZipEntry entry, ReadEntry(&directory));
    if (!names.insert(entry.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("two zip entries named ", Quoted(entry.name)));
    }
    entries.push_back(std::move(entry));
  }
  if (directory.empty()) return entries;
  return absl::InvalidArgumentError("the zip archive's directory is longer than its entries");
}

absl::StatusOr<uint64_t> FindZipBytes(const RandomAccessFile& file, const ZipEntry& entry) {
  const std::string place = absl::StrCat("zip entry ", Quoted(entry.name));
  if (!entry.stored) return At(place, absl::InvalidArgumentError("is compressed or encrypted"));
  const absl::Status beyond = absl::InvalidArgumentError("lies beyond the end of the file");
  if (entry.header > file.size() || file.size() - entry.header < kLocalHeaderBytes) {
    return At(place, beyond);
  }
  std::array<uint8_t, kLocalHeaderBytes> header;
  RETURN_IF_ERROR(file.Read(entry.header, absl::MakeSpan(header)));
  const uint64_t name_bytes = U16(header, 26), extra_bytes = U16(header, 28);
  const uint64_t name_begin = entry.header + kLocalHeaderBytes;
  const uint64_t begin = name_begin + name_bytes + extra_bytes;
  if (begin > file.size() || entry.bytes > file.size() - begin) return At(place, beyond);
  std::vector<uint8_t> name(name_bytes);
  RETURN_IF_ERROR(file.Read(name_begin, absl::MakeSpan(name)));
  if (U32(header, 0) != kLocalHeader || U16(header, 8) != 0 || TextOf(name) != entry.name) {
    return At(place, absl::InvalidArgumentError("its local header is not the directory's"));
  }
  return begin;
}

}  // namespace peerage
