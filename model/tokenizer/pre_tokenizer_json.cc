#include "model/tokenizer/pre_tokenizer_json.h"

#include <array>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/text.h"

namespace peerage {

using nlohmann::json;

namespace {

constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kBehaviors = {{
    {"Isolated", SplitBehavior::kIsolated},
    {"Removed", SplitBehavior::kRemoved},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous},
}};

absl::StatusOr<SplitBehavior> ReadBehavior(const json& split) {
  ASSIGN_OR_RETURN(const std::string name, OptionalField(split, "behavior", std::string()));
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == name) return behavior;
  }
  return absl::UnimplementedError(
      Concat("pre_tokenizer Split behavior \"", name, "\" is not supported"));
}

absl::StatusOr<Pattern> ReadPattern(const json& split) {
  const auto pattern = split.find("pattern");
  if (pattern == split.end() || !pattern->is_object() || pattern->size() != 1) {
    return absl::InvalidArgumentError("pre_tokenizer Split has no pattern");
  }
  ASSIGN_OR_RETURN(const std::string regex, OptionalField(*pattern, "Regex", std::string()));
  ASSIGN_OR_RETURN(const std::string literal, OptionalField(*pattern, "String", std::string()));
  if (!regex.empty()) return Pattern::Compile(regex);
  if (!literal.empty()) return Pattern::Literal(literal);
  return absl::InvalidArgumentError("pre_tokenizer Split has an empty pattern");
}

absl::StatusOr<PreTokenizerStep> ReadSplit(const json& split) {
  RETURN_IF_ERROR(
      CheckKeys(split, "pre_tokenizer Split", {"type", "pattern", "behavior", "invert"}));
  ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(split));
  PreTokenizerStep step{.pattern = std::make_shared<const Pattern>(std::move(pattern))};
  ASSIGN_OR_RETURN(step.behavior, ReadBehavior(split));
  ASSIGN_OR_RETURN(step.invert, OptionalField(split, "invert", false));
  return step;
}

// The steps of nested Sequences, flattened.
class Reader {
 public:
  absl::Status Read(const json& json) {
    if (!json.is_object()) {
      return absl::InvalidArgumentError("a pre_tokenizer is not a JSON object");
    }
    if (has_byte_level_) {
      return absl::UnimplementedError("a pre_tokenizer after ByteLevel is not supported");
    }
    ASSIGN_OR_RETURN(const std::string type, OptionalField(json, "type", std::string()));
    if (type == "Sequence") return ReadSequence(json);
    if (type == "ByteLevel") return ReadByteLevel(json);
    if (type == "Digits") {
      RETURN_IF_ERROR(CheckKeys(json, "pre_tokenizer Digits", {"type", "individual_digits"}));
      ASSIGN_OR_RETURN(const bool individual, OptionalField(json, "individual_digits", false));
      steps_.push_back(DigitsStep(individual));
      return absl::OkStatus();
    }
    if (type == "Split") {
      ASSIGN_OR_RETURN(PreTokenizerStep step, ReadSplit(json));
      steps_.push_back(std::move(step));
      return absl::OkStatus();
    }
    return absl::UnimplementedError(Concat("pre_tokenizer \"", type, "\" is not supported"));
  }

  absl::StatusOr<PreTokenizer> Finish() && {
    if (!has_byte_level_) {
      return absl::UnimplementedError("a pre_tokenizer without ByteLevel is not supported");
    }
    return PreTokenizer(std::move(steps_));
  }

 private:
  absl::Status ReadSequence(const json& sequence) {
    RETURN_IF_ERROR(CheckKeys(sequence, "pre_tokenizer Sequence", {"type", "pretokenizers"}));
    const auto parts = sequence.find("pretokenizers");
    if (parts == sequence.end() || !parts->is_array()) {
      return absl::InvalidArgumentError("pre_tokenizer Sequence has no list of pretokenizers");
    }
    for (const json& part : *parts) RETURN_IF_ERROR(Read(part));
    return absl::OkStatus();
  }

  absl::Status ReadByteLevel(const json& byte_level) {
    RETURN_IF_ERROR(CheckKeys(byte_level, "pre_tokenizer ByteLevel",
                              {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    ASSIGN_OR_RETURN(const bool add_space, OptionalField(byte_level, "add_prefix_space", true));
    ASSIGN_OR_RETURN(const bool use_regex, OptionalField(byte_level, "use_regex", true));
    steps_.push_back(ByteLevelStep(add_space, use_regex));
    has_byte_level_ = true;
    return absl::OkStatus();
  }

  std::vector<PreTokenizerStep> steps_;
  bool has_byte_level_ = false;
};

}  // namespace

absl::StatusOr<PreTokenizer> ReadPreTokenizer(const json& json) {
  Reader reader;
  RETURN_IF_ERROR(reader.Read(json));
  return std::move(reader).Finish();
}

}  // namespace peerage
