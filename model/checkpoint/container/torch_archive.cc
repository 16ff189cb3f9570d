#include "model/checkpoint/container/torch_archive.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr absl::string_view kPickle = "data.pkl";
constexpr absl::string_view kScriptConstants = "constants.pkl";
constexpr uint64_t kMaxPickleBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxByteOrderBytes = 64;

// The folder that holds data.pkl; empty when none does.
std::string FolderOf(const std::vector<ZipEntry>& entries) {
  for (const ZipEntry& entry : entries) {
    const size_t slash = entry.name.find('/');
    if (slash == std::string::npos || entry.name.substr(slash + 1) != kPickle) continue;
    return entry.name.substr(0, slash);
  }
  return "";
}

}  // namespace

absl::StatusOr<TorchArchive> TorchArchive::Open(const RandomAccessFile& file) {
  ASSIGN_OR_RETURN(std::vector<ZipEntry> entries, ReadZipDirectory(file));
  TorchArchive archive(file);
  archive.folder_ = FolderOf(entries);
  for (ZipEntry& entry : entries) {
    std::string name = entry.name;
    archive.entries_.emplace(std::move(name), std::move(entry));
  }
  if (archive.Find(kPickle) == nullptr) {
    return absl::InvalidArgumentError(
        "is a zip archive, but not one of torch.save: it has no data.pkl");
  }
  if (archive.Find(kScriptConstants) != nullptr) {
    return absl::InvalidArgumentError(
        "is a TorchScript program, not the tensors of a state dict; "
        "torch.save(torch.jit.load(FILE).state_dict(), OTHER) writes these");
  }
  return archive;
}

absl::StatusOr<std::vector<uint8_t>> TorchArchive::Pickle() const {
  return Bytes(*Find(kPickle), kMaxPickleBytes);
}

absl::StatusOr<bool> TorchArchive::IsBigEndian() const {
  const ZipEntry* entry = Find("byteorder");
  if (entry == nullptr) return false;
  ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, Bytes(*entry, kMaxByteOrderBytes));
  const absl::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (order == "little" || order == "big") return order == "big";
  return absl::InvalidArgumentError(
      absl::StrCat("byte order ", Quoted(order), " is neither little nor big"));
}

absl::StatusOr<uint64_t> TorchArchive::FindStorage(absl::string_view key, uint64_t bytes) const {
  const ZipEntry* entry = Find(absl::StrCat("data/", key));
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("its storage ", Quoted(key), " is missing"));
  }
  if (entry->bytes != bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("its storage ", Quoted(key), " has ", entry->bytes, " bytes, not ", bytes));
  }
  return FindZipBytes(file_, *entry);
}

const ZipEntry* TorchArchive::Find(absl::string_view name) const {
  const auto found = entries_.find(absl::StrCat(folder_, "/", name));
  return found == entries_.end() ? nullptr : &found->second;
}

absl::StatusOr<std::vector<uint8_t>> TorchArchive::Bytes(const ZipEntry& entry,
                                                         uint64_t most) const {
  if (entry.bytes > most) {
    return absl::InvalidArgumentError(absl::StrCat("zip entry ", Quoted(entry.name), " has ",
                                                   entry.bytes, " bytes; at most ", most,
                                                   " are read"));
  }
  ASSIGN_OR_RETURN(const uint64_t begin, FindZipBytes(file_, entry));
  std::vector<uint8_t> bytes(entry.bytes);
  RETURN_IF_ERROR(file_.Read(begin, absl::MakeSpan(bytes)));
  return bytes;
}

}  // namespace peerage
