#include "model/transform/dict_choice_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error_text.h"

namespace peerage::transform {
namespace {

constexpr size_t kMostTold = 8;  // an optimizer has a dict for each parameter

std::string Name(const TensorDict& dict) {
  return absl::StrCat(dict.key.empty() ? "the outermost dict" : Quoted(dict.key), " (",
                      dict.tensors, " tensors, ", dict.bytes, " bytes)");
}

std::string Join(const std::vector<std::string>& names) {
  const size_t told = std::min(names.size(), kMostTold);
  std::string text = absl::StrJoin(names.begin(), names.begin() + told, ", ");
  if (told < names.size()) absl::StrAppend(&text, " and ", names.size() - told, " more");
  return text;
}

}  // namespace

std::string DictChoiceText(const TensorDictChoice& choice) {
  std::string text;
  if (!choice.chosen.key.empty() || !choice.others.empty()) {
    absl::StrAppend(&text, "took ", Name(choice.chosen), "\n");
  }
  std::vector<std::string> others, skipped;
  for (const TensorDict& dict : choice.others) others.push_back(Name(dict));
  for (const std::string& key : choice.skipped) skipped.push_back(Quoted(key));
  if (!others.empty()) {
    absl::StrAppend(&text, "not taken (--key takes another): ", Join(others), "\n");
  }
  if (!skipped.empty()) absl::StrAppend(&text, "left out, not a tensor: ", Join(skipped), "\n");
  return text;
}

}  // namespace peerage::transform
