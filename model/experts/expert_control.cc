#include "model/experts/expert_control.h"

#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "base/little_endian.h"

namespace peerage {
namespace {

// Each list with its length before it, so that no two controls have the same bytes.
template <typename T>
void AppendList(const std::vector<T>& values, std::string& bytes) {
  bytes += LittleEndianBytes<uint64_t>(values.size());
  AppendLittleEndian(values, bytes);
}

}  // namespace

bool LayerControl::masks(uint32_t id) const {
  return std::binary_search(masked_ids.begin(), masked_ids.end(), id);
}

TokenControl ExpertControl::Of(size_t expert_layer, int64_t token) const {
  if (layers.empty()) return {};
  const LayerControl& layer = layers[expert_layer];
  const ForcedPicks& forced = layer.forced;
  if (!forced.Covers(token)) return {.layer = &layer};
  const size_t picks = forced.ids.size() / forced.tokens;
  const size_t first = (token - forced.first_token) * picks;
  TokenControl control{.layer = &layer, .ids = absl::MakeSpan(forced.ids).subspan(first, picks)};
  if (!forced.weights.empty()) {
    control.weights = absl::MakeSpan(forced.weights).subspan(first, picks);
  }
  return control;
}

std::string ControlFingerprint(const ExpertControl& control) {
  if (control.empty()) return "";
  std::string bytes;
  for (const LayerControl& layer : control.layers) {
    AppendList(layer.masked_ids, bytes);
    AppendList(layer.biases, bytes);
    AppendLittleEndian(std::vector<uint32_t>{layer.top_k, layer.forced.first_token}, bytes);
    AppendList(layer.forced.ids, bytes);
    AppendList(layer.forced.weights, bytes);
  }
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof digest));
}

}  // namespace peerage
