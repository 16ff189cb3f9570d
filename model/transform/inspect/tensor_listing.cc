#include "model/transform/inspect/tensor_listing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/number_text.h"
#include "model/transform/dict_choice_text.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

uint64_t BytesOfAll(const std::vector<StoredTensor>& tensors) {
  uint64_t bytes = 0;
  for (const StoredTensor& tensor : tensors) bytes += tensor.bytes;
  return bytes;
}

struct ListingRow {
  std::string name;
  std::string dtype;
  std::string shape;
  std::string bytes;
};

std::vector<ListingRow> RowsOf(const std::vector<StoredTensor>& tensors) {
  std::vector<ListingRow> rows = {{"name", "dtype", "shape", "bytes"}};
  for (const StoredTensor& tensor : tensors) {
    // Whoever wrote the file chose the names.
    rows.push_back({absl::CHexEscape(tensor.name), tensor.dtype,
                    absl::StrCat("[", absl::StrJoin(tensor.shape, ", "), "]"),
                    FormatWhole(tensor.bytes)});
  }
  return rows;
}

}  // namespace

std::string TensorListingText(const StoredWeights& weights) {
  const std::vector<ListingRow> rows = RowsOf(weights.tensors);
  size_t name = 0, shape = 0, bytes = 0;
  for (const ListingRow& row : rows) {
    name = std::max(name, row.name.size());
    shape = std::max(shape, row.shape.size());
    bytes = std::max(bytes, row.bytes.size());
  }
  std::string text = weights.choice.has_value() ? DictChoiceText(*weights.choice) : "";
  for (const ListingRow& row : rows) {
    absl::StrAppendFormat(&text, "%-*s  %-5s  %-*s  %*s\n", name, row.name, row.dtype, shape,
                          row.shape, bytes, row.bytes);
  }
  return absl::StrCat(text, weights.tensors.size(), " tensors, ",
                      FormatWhole(BytesOfAll(weights.tensors)), " bytes\n");
}

ordered_json TensorListingJson(const StoredWeights& weights) {
  ordered_json tensors = ordered_json::array();
  for (const StoredTensor& tensor : weights.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", tensor.dtype},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes}});
  }
  ordered_json json = {{"format", weights.format},      {"key", nullptr},
                       {"other_keys", nullptr},         {"not_tensors", nullptr},
                       {"tensors", std::move(tensors)}, {"bytes", BytesOfAll(weights.tensors)}};
  if (!weights.choice.has_value()) return json;
  json["key"] = weights.choice->chosen.key;
  json["other_keys"] = ordered_json::array();
  for (const TensorDict& dict : weights.choice->others) json["other_keys"].push_back(dict.key);
  json["not_tensors"] = weights.choice->skipped;
  return json;
}

}  // namespace peerage::transform
