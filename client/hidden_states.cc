#include "client/hidden_states.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "base/npy_header.h"

namespace peerage::client {
namespace {

int32_t PartOf(const v1::HiddenStates& states) {
  return states.has_index() ? static_cast<int32_t>(states.index()) : -1;
}

}  // namespace

absl::StatusOr<std::string> HiddenStatesNpy(
    const google::protobuf::RepeatedPtrField<v1::HiddenStates>& states) {
  std::vector<const v1::HiddenStates*> parts;
  for (const v1::HiddenStates& part : states) parts.push_back(&part);
  std::stable_sort(parts.begin(), parts.end(),
                   [](auto* a, auto* b) { return PartOf(*a) < PartOf(*b); });
  const uint32_t width = parts.empty() ? 0 : parts.front()->hidden_size();
  const size_t row_bytes = width * sizeof(float);
  size_t rows = 0;
  std::string entries;
  for (const v1::HiddenStates* part : parts) {
    const auto positions = static_cast<size_t>(part->positions_size());
    if (part->hidden_size() != width || part->values().size() != positions * row_bytes) {
      return absl::DataLossError(absl::StrCat("hidden states of layer ", part->layer(), " are ",
                                              part->values().size(), " bytes, not ", positions,
                                              " rows of ", width, " values"));
    }
    for (size_t i = 0; i < positions; ++i, ++rows) {
      absl::StrAppend(&entries, LittleEndianBytes(PartOf(*part)), LittleEndianBytes(part->layer()),
                      LittleEndianBytes(part->positions(static_cast<int>(i))),
                      absl::string_view(part->values()).substr(i * row_bytes, row_bytes));
    }
  }
  const std::string descr =
      absl::StrCat("[('part', '<i4'), ('layer', '<u4'), ('position', '<u4'), ('values', '<f4', (",
                   width, ",))]");
  return NpyHeader(descr, absl::StrCat("(", rows, ",)")) + entries;
}

}  // namespace peerage::client
