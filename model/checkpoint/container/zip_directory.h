#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage {

// One file of a zip archive.
struct ZipEntry {
  std::string name;
  uint64_t header = 0;  // where its local header begins
  uint64_t bytes = 0;   // as the archive holds them
  bool stored = true;   // neither compressed nor encrypted: its bytes are the archive's
};

// Reads the directory at the end of a zip archive, ZIP64 included, and proves it against the
// file's size. Archives in parts, with a comment behind the directory or with two entries of one
// name are refused, and more than 1,048,576 entries or 128 MiB of directory. Errors do not name the
// file. Format: PKWARE's APPNOTE.TXT.
absl::StatusOr<std::vector<ZipEntry>> ReadZipDirectory(const RandomAccessFile& file);

// Where an entry's bytes begin; all of them are within the file. An entry that is not stored, or
// whose local header does not say what the directory says, is an error.
absl::StatusOr<uint64_t> FindZipBytes(const RandomAccessFile& file, const ZipEntry& entry);

}  // namespace peerage
