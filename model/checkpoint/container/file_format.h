#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage {

// What a file is, by how it begins: people meet files that are not what their names say.
enum class FileFormat {
  kUnknown,
  kEmpty,
  kSafetensors,
  kGguf,
  kZip,     // torch.save's, and any other
  kPickle,  // torch.save's before PyTorch 1.6, and any other
  kGitLfsPointer,
  kHtml,
  kGzip,
  kBzip2,
  kXz,
  kZstd,
  kHdf5,
  kNumpy,
  kJson,
};

// How many bytes from its start tell what a file is.
inline constexpr size_t kFormatBytes = 64;

// `start`: the file's first bytes, at most kFormatBytes; `size`: of the whole file.
FileFormat FormatOf(absl::string_view start, uint64_t size);
absl::StatusOr<FileFormat> FormatOf(const RandomAccessFile& file);

// "a Git LFS pointer, not the file itself (git lfs pull fetches it)", and likewise for others.
// Precondition: not kUnknown.
std::string Description(FileFormat format);

// An error that says what the file is, when that is known and something other than `expected`.
// It does not name the file.
absl::Status CheckFormat(const RandomAccessFile& file, FileFormat expected);

// Likewise of a text that is to be read: whether it is one at all. Empty ones are.
absl::Status CheckIsText(absl::string_view text);

}  // namespace peerage
