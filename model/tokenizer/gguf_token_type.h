#pragma once

namespace peerage {

// tokenizer.ggml.token_type; 6 (byte) belongs to SentencePiece vocabularies.
enum GgufTokenType {
  kNormalToken = 1,
  kUnknownToken = 2,
  kControlToken = 3,
  kUserDefinedToken = 4,
  kUnusedToken = 5
};

}  // namespace peerage
