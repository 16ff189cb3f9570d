#include "model/checkpoint/container/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr uint64_t kChunkBytes = 128 << 10;  // stays in a core's cache between reading and hashing

absl::Status Update(EVP_MD_CTX* digest, const RandomAccessFile& file) {
  std::vector<uint8_t> chunk(std::min(kChunkBytes, file.size()));
  for (uint64_t offset = 0; offset < file.size(); offset += chunk.size()) {
    const auto bytes =
        absl::MakeSpan(chunk).subspan(0, std::min(kChunkBytes, file.size() - offset));
    RETURN_IF_ERROR(file.Read(offset, bytes));
    if (EVP_DigestUpdate(digest, bytes.data(), bytes.size()) != 1) {
      return absl::InternalError("SHA-256 failed");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Sha256Hex(absl::Span<const std::unique_ptr<RandomAccessFile>> files) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(),
                                                                       &EVP_MD_CTX_free);
  if (digest == nullptr || EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("SHA-256 is not available");
  }
  for (const auto& file : files) RETURN_IF_ERROR(Update(digest.get(), *file));
  uint8_t sum[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(digest.get(), sum, &size) != 1) {
    return absl::InternalError("SHA-256 failed");
  }
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(sum), size));
}

}  // namespace peerage
