// Any tokenizer.json is a tokenizer whose ids the model has, or an error that says why.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  constexpr absl::string_view kText =
      "It's 12 o'clock,\n  d\xc3\xa9j\xc3\xa0 \xf0\x9f\x9a\x80 <|im_end|>";
  peerage::TokenizerSource source;
  source.hugging_face.emplace().tokenizer_json.assign(reinterpret_cast<const char*>(bytes), size);
  source.vocab_size = 288;
  const auto tokenizer = peerage::Tokenizer::Load(source);
  if (!tokenizer.ok()) {
    if (tokenizer.status().message().empty()) __builtin_trap();
    return 0;
  }
  const auto ids = (*tokenizer)->Encode(kText, peerage::SpecialTokens::kRecognise);
  if (!ids.ok()) return 0;
  for (const peerage::TokenId id : *ids) {
    if (id >= 288) __builtin_trap();
    (void)(*tokenizer)->Bytes(id);
  }
  return 0;
}
