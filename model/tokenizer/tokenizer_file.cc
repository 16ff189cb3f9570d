#include "model/tokenizer/tokenizer_file.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"

namespace peerage {
namespace {

class TokenizerFileBuilder final : public StrictJsonBuilder {
 public:
  absl::StatusOr<TokenizerFile> ParseFile(absl::string_view text) {
    ASSIGN_OR_RETURN(file_.json, ObjectOfFile("tokenizer.json", Parse(text)));
    return std::move(file_);
  }

  bool null() override { return list_ == List::kNone ? StrictJsonBuilder::null() : FailHere(); }
  bool boolean(bool value) override {
    return list_ == List::kNone ? StrictJsonBuilder::boolean(value) : FailHere();
  }
  bool number_integer(number_integer_t value) override {
    return list_ == List::kNone ? StrictJsonBuilder::number_integer(value) : FailHere();
  }
  bool number_float(number_float_t value, const string_t& text) override {
    return list_ == List::kNone ? StrictJsonBuilder::number_float(value, text) : FailHere();
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (list_ == List::kNone) return StrictJsonBuilder::number_unsigned(value);
    if (list_ != List::kVocab) return FailHere();
    file_.vocab.emplace_back(std::move(token_), value);
    return true;
  }

  bool key(string_t& key) override {
    if (list_ == List::kNone) return StrictJsonBuilder::key(key);
    token_ = std::move(key);
    return true;
  }

  bool string(string_t& value) override {
    if (list_ == List::kNone) return StrictJsonBuilder::string(value);
    if (list_ == List::kPair) {
      pair_.push_back(std::move(value));
      return pair_.size() <= 2 || FailHere();
    }
    const size_t space = value.find(' ');
    const bool two = space != string_t::npos && value.find(' ', space + 1) == string_t::npos;
    if (list_ != List::kMerges || !two) return FailHere();
    file_.merges.emplace_back(value.substr(0, space), value.substr(space + 1));
    return true;
  }

  bool start_object(size_t size) override {
    if (list_ != List::kNone) return FailHere();
    if (IsAt("model", "vocab")) list_ = List::kVocab;
    return StrictJsonBuilder::start_object(size);
  }

  bool end_object() override {
    list_ = List::kNone;
    return StrictJsonBuilder::end_object();
  }

  bool start_array(size_t size) override {
    if (list_ == List::kNone) {
      if (IsAt("model", "merges")) list_ = List::kMerges;
      return StrictJsonBuilder::start_array(size);
    }
    if (list_ != List::kMerges) return FailHere();
    list_ = List::kPair;
    pair_.clear();
    return true;
  }

  bool end_array() override {
    if (list_ != List::kPair) {
      list_ = List::kNone;
      return StrictJsonBuilder::end_array();
    }
    if (pair_.size() != 2) return FailHere();
    file_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
    list_ = List::kMerges;
    return true;
  }

 private:
  enum class List { kNone, kVocab, kMerges, kPair };

  bool FailHere() {
    if (list_ == List::kVocab) {
      return Fail(absl::StrCat("model.vocab: the id of \"", token_, "\" is not a natural number"));
    }
    return Fail(absl::StrCat("model.merges: entry ", file_.merges.size(), " is not two tokens"));
  }

  TokenizerFile file_;
  List list_ = List::kNone;  // the list that is being read
  std::string token_;        // of the vocabulary, before its id
  std::vector<std::string> pair_;
};

}  // namespace

absl::StatusOr<TokenizerFile> ParseTokenizerFile(absl::string_view text) {
  return TokenizerFileBuilder().ParseFile(text);
}

}  // namespace peerage
