#include "model/tokenizer/tokenizer.h"

#include <utility>

#include "model/status_macros.h"
#include "model/tokenizer/bpe_tokenizer.h"
#include "model/tokenizer/text.h"
#include "model/tokenizer/tokenizer_definition.h"

namespace peerage {
namespace {

constexpr int kMaxVocabSize = 1 << 24;

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const TokenizerSource& source) {
  if (source.vocab_size < 1 || source.vocab_size > kMaxVocabSize) {
    return absl::InvalidArgumentError(
        Concat("vocabulary size ", source.vocab_size, " is outside 1 to ", kMaxVocabSize));
  }
  if (source.gguf.has_value() == source.hugging_face.has_value()) {
    return absl::InvalidArgumentError("a tokenizer comes from a GGUF file or from tokenizer.json");
  }
  ASSIGN_OR_RETURN(TokenizerDefinition definition, source.gguf.has_value()
                                                       ? DefineFromGguf(source)
                                                       : DefineFromHuggingFace(source));
  return BpeTokenizer::Create(std::move(definition));
}

}  // namespace peerage
