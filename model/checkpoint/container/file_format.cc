#include "model/checkpoint/container/file_format.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

struct Beginning {
  absl::string_view bytes;
  FileFormat format;
};

constexpr Beginning kBeginnings[] = {
    {"GGUF", FileFormat::kGguf},
    {"PK\3\4", FileFormat::kZip},
    {"PK\5\6", FileFormat::kZip},  // without entries
    {"\x80\2", FileFormat::kPickle},
    {"\x80\3", FileFormat::kPickle},
    {"\x80\4", FileFormat::kPickle},
    {"\x80\5", FileFormat::kPickle},
    {"version https://git-lfs.github.com/spec/", FileFormat::kGitLfsPointer},
    {"\x1f\x8b", FileFormat::kGzip},
    {"BZh", FileFormat::kBzip2},
    {"\xfd"
     "7zXZ",
     FileFormat::kXz},
    {"\x28\xb5\x2f\xfd", FileFormat::kZstd},
    {"\x89HDF\r\n", FileFormat::kHdf5},
    {"\x93NUMPY", FileFormat::kNumpy},
};

// A length and, as long, a JSON object that goes on for that long.
bool IsSafetensors(absl::string_view start, uint64_t size) {
  constexpr size_t kLengthBytes = 8;
  if (start.size() <= kLengthBytes) return false;
  const auto length = LoadLittleEndian<uint64_t>(reinterpret_cast<const uint8_t*>(start.data()));
  const absl::string_view header = absl::StripLeadingAsciiWhitespace(start.substr(kLengthBytes));
  return length <= size - kLengthBytes && absl::StartsWith(header, "{");
}

}  // namespace

FileFormat FormatOf(absl::string_view start, uint64_t size) {
  if (size == 0) return FileFormat::kEmpty;
  if (IsSafetensors(start, size)) return FileFormat::kSafetensors;
  for (const Beginning& beginning : kBeginnings) {
    if (absl::StartsWith(start, beginning.bytes)) return beginning.format;
  }
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(start);
  for (const absl::string_view tag : {"<!doctype html", "<html", "<?xml"}) {
    if (absl::StartsWithIgnoreCase(text, tag)) return FileFormat::kHtml;
  }
  return absl::StartsWith(text, "{") ? FileFormat::kJson : FileFormat::kUnknown;
}

absl::StatusOr<FileFormat> FormatOf(const RandomAccessFile& file) {
  std::string start(std::min<uint64_t>(file.size(), kFormatBytes), '\0');
  RETURN_IF_ERROR(
      file.Read(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(start.data()), start.size())));
  return FormatOf(start, file.size());
}

std::string Description(FileFormat format) {
  switch (format) {
    case FileFormat::kUnknown:
      break;
    case FileFormat::kEmpty:
      return "an empty file";
    case FileFormat::kSafetensors:
      return "a safetensors file";
    case FileFormat::kGguf:
      return "a GGUF file";
    case FileFormat::kZip:
      return "a zip archive, as torch.save writes it (.pt)";
    case FileFormat::kPickle:
      return "a pickle, as torch.save wrote it before PyTorch 1.6";
    case FileFormat::kGitLfsPointer:
      return "a Git LFS pointer, not the file itself (git lfs pull fetches it)";
    case FileFormat::kHtml:
      return "a web page, not the file that was to be downloaded";
    case FileFormat::kGzip:
      return "compressed (gunzip unpacks it)";
    case FileFormat::kBzip2:
      return "compressed (bunzip2 unpacks it)";
    case FileFormat::kXz:
      return "compressed (unxz unpacks it)";
    case FileFormat::kZstd:
      return "compressed (unzstd unpacks it)";
    case FileFormat::kHdf5:
      return "an HDF5 file (Keras, TensorFlow)";
    case FileFormat::kNumpy:
      return "a NumPy array";
    case FileFormat::kJson:
      return "a JSON text";
  }
  return "a file of another format";
}

absl::Status CheckFormat(const RandomAccessFile& file, FileFormat expected) {
  ASSIGN_OR_RETURN(const FileFormat format, FormatOf(file));
  if (format == expected || format == FileFormat::kUnknown) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("is ", Description(format)));
}

absl::Status CheckIsText(absl::string_view text) {
  const FileFormat format = FormatOf(text.substr(0, kFormatBytes), text.size());
  if (format == FileFormat::kUnknown || format == FileFormat::kEmpty ||
      format == FileFormat::kJson) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("is ", Description(format)));
}

}  // namespace peerage
