#include "model/checkpoint/container/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr uint64_t kChunkBytes = 128 << 10;  // stays in a core's cache between reading and hashing

class Digest {
 public:
  Digest() : state_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    is_sound_ = state_ != nullptr && EVP_DigestInit_ex(state_.get(), EVP_sha256(), nullptr) == 1;
  }

  void Add(absl::Span<const uint8_t> bytes) {
    is_sound_ = is_sound_ && EVP_DigestUpdate(state_.get(), bytes.data(), bytes.size()) == 1;
  }

  absl::Status Add(const RandomAccessFile& file) {
    std::vector<uint8_t> chunk(std::min(kChunkBytes, file.size()));
    for (uint64_t offset = 0; offset < file.size(); offset += chunk.size()) {
      const auto bytes =
          absl::MakeSpan(chunk).subspan(0, std::min(kChunkBytes, file.size() - offset));
      RETURN_IF_ERROR(file.Read(offset, bytes));
      Add(bytes);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Hex() {
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (!is_sound_ || EVP_DigestFinal_ex(state_.get(), sum, &size) != 1) {
      return absl::InternalError("SHA-256 is not available");
    }
    return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(sum), size));
  }

 private:
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> state_;
  bool is_sound_;
};

}  // namespace

absl::StatusOr<std::string> Sha256Hex(absl::Span<const std::unique_ptr<RandomAccessFile>> files) {
  Digest digest;
  for (const auto& file : files) RETURN_IF_ERROR(digest.Add(*file));
  return digest.Hex();
}

absl::StatusOr<std::string> Sha256Hex(absl::Span<const absl::Span<const uint8_t>> parts) {
  Digest digest;
  for (const absl::Span<const uint8_t> part : parts) digest.Add(part);
  return digest.Hex();
}

}  // namespace peerage
