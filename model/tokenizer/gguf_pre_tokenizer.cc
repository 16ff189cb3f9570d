#include "model/tokenizer/gguf_pre_tokenizer.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace peerage {
namespace {

using nlohmann::json;

// Whose Hugging Face original is Digits, then ByteLevel.
constexpr std::array<absl::string_view, 5> kDigitsThenByteLevel = {"smollm", "starcoder", "refact",
                                                                   "command-r", "codeshell"};

constexpr absl::string_view kLlama3Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json ByteLevelJson(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

json SequenceJson(json first, json second) {
  return {{"type", "Sequence"},
          {"pretokenizers", json::array({std::move(first), std::move(second)})}};
}

}  // namespace

absl::StatusOr<GgufPreTokenizer> FindGgufPreTokenizer(absl::string_view name) {
  if (name == "gpt-2") return GgufPreTokenizer{ByteLevelJson(true)};
  if (std::find(kDigitsThenByteLevel.begin(), kDigitsThenByteLevel.end(), name) !=
      kDigitsThenByteLevel.end()) {
    const json digits = {{"type", "Digits"}, {"individual_digits", true}};
    return GgufPreTokenizer{SequenceJson(digits, ByteLevelJson(true))};
  }
  if (name == "llama-bpe") {
    const json words = {{"type", "Split"},
                        {"pattern", {{"Regex", kLlama3Words}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    return GgufPreTokenizer{
        .json = SequenceJson(words, ByteLevelJson(false)), .ignore_merges = true, .add_bos = true};
  }
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.ggml.pre \"", name,
                   "\" is not supported (smollm, starcoder, refact, command-r, codeshell, gpt-2 "
                   "and llama-bpe are)"));
}

}  // namespace peerage
