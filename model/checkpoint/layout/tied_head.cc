#include "model/checkpoint/layout/tied_head.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/stored_values.h"

namespace peerage {
namespace {

constexpr int64_t kRowsAtOnce = 1024;

absl::Status Differs(const StoredTensor& head, const std::string& how) {
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor ", Quoted(head.name), ": ", how,
      ", but the config says tie_word_embeddings: true; with false it is the head, without this "
      "tensor the embedding is"));
}

absl::StatusOr<std::vector<uint8_t>> ReadRows(const WeightFiles& files, const StoredTensor& tensor,
                                              int64_t first, int64_t rows) {
  const uint64_t row_bytes = tensor.bytes / tensor.shape.front();
  std::vector<uint8_t> bytes(rows * row_bytes);
  RETURN_IF_ERROR(
      files[tensor.file]->Read(tensor.offset + first * row_bytes, absl::MakeSpan(bytes)));
  return bytes;
}

// Dtypes that are no weight's are the same only byte for byte.
bool SameRows(const StoredTensor& a, const std::vector<uint8_t>& a_bytes, const StoredTensor& b,
              const std::vector<uint8_t>& b_bytes) {
  if (a.dtype == b.dtype && a_bytes == b_bytes) return true;
  if (!a.type.has_value() || !b.type.has_value()) return false;
  return FloatsOf(*a.type, a_bytes) == FloatsOf(*b.type, b_bytes);
}

}  // namespace

absl::Status CheckTiedHead(const WeightFiles& files, const TiedHead& tied) {
  const auto& [embedding, head] = tied;
  if (head.shape != embedding.shape || head.shape.empty() || head.shape.front() == 0) {
    return Differs(head, "has not the shape of the embedding");
  }
  for (int64_t first = 0; first < head.shape.front(); first += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, head.shape.front() - first);
    ASSIGN_OR_RETURN(const std::vector<uint8_t> of_head, ReadRows(files, head, first, rows));
    ASSIGN_OR_RETURN(const std::vector<uint8_t> of_embedding,
                     ReadRows(files, embedding, first, rows));
    if (SameRows(head, of_head, embedding, of_embedding)) continue;
    return Differs(head, absl::StrCat("differs from ", Quoted(embedding.name), " (in rows ", first,
                                      " to ", first + rows - 1, ")"));
  }
  return absl::OkStatus();
}

}  // namespace peerage
