#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/zip_directory.h"

namespace peerage {

// The zip archive that torch.save writes: one folder with data.pkl, what describes the values, and
// data/KEY, the elements of each storage. Errors do not name the file.
class TorchArchive {
 public:
  // Another zip archive, and a TorchScript program, is an error that says so.
  // Precondition: the file outlives the archive.
  static absl::StatusOr<TorchArchive> Open(const RandomAccessFile& file);

  absl::StatusOr<std::vector<uint8_t>> Pickle() const;

  // Whether numbers have their most significant byte first. Without a word they have not.
  absl::StatusOr<bool> IsBigEndian() const;

  // Where in the file a storage of exactly that many bytes begins.
  absl::StatusOr<uint64_t> FindStorage(absl::string_view key, uint64_t bytes) const;

 private:
  explicit TorchArchive(const RandomAccessFile& file) : file_(file) {}

  const ZipEntry* Find(absl::string_view name) const;
  absl::StatusOr<std::vector<uint8_t>> Bytes(const ZipEntry& entry, uint64_t most) const;

  const RandomAccessFile& file_;
  std::string folder_;
  absl::flat_hash_map<std::string, ZipEntry> entries_;
};

}  // namespace peerage
